"""Judging files that other tools made of a Caffe net: ONNX, PyTorch modules, MXNet checkpoints."""
