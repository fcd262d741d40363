"""What every package uses and what knows nothing of models: files, receipts, tables and their contracts, statistics, progress."""
