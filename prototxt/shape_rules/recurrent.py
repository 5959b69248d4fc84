"""Shapes of recurrent layers: time is the first axis."""
