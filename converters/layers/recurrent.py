"""Lowerings of recurrent layers, unrolled over time."""
