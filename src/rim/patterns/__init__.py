"""Effort-minimizing reasoning patterns: found in chains of thought, written into or out of them, injected."""
