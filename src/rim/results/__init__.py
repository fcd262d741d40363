"""From artifacts of all runs to the tables of results."""
