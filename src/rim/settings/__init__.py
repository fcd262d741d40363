"""The settings of each part of a study; `rim.config` puts them together."""
