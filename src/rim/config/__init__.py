"""A study as its author writes it: typed settings, read from YAML, checked, documented."""
