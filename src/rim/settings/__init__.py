"""The settings of each part of a study; `rim.config.load.study` puts them together."""
