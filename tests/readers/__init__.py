"""Other programs that read ONNX, on what conversions write."""
