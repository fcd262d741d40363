"""Datasets: read a source (`sources`), understand its rows (`adapters`), and prepare one table of them (`prepare`)."""
