"""Language models: loading, families, chat formats, token positions, and the engines that generate."""
