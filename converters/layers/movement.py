"""Lowerings of layers that move values and compute nothing."""
