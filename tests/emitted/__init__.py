"""What conversions emit, as golden files.

python -m tests.emitted update    write them anew
"""
