"""Language models as instruments: one client, and the store that keeps what they answered."""
