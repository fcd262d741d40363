"""The figures, each a function from the tables of results to one Altair chart."""
