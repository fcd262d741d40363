"""Reasoning-induced misalignment: a reproducible study of how stronger reasoning weakens refusal."""

__version__ = "0.1.0"
