"""Verification: NumPy reference of Caffe's layers, runners of the artifacts, comparison, report."""
