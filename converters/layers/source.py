"""Lowerings of layers that hold values, or end a net."""
