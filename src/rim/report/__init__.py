"""The report and its figures, made from the tables of results."""
