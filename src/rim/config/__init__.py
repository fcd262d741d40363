"""A study as its author writes it: put together from its settings, read from YAML, checked, documented."""
