"""Tiny chat models trained on the spot, in which the association under study is planted on purpose."""
