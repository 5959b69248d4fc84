"""Judging what another converter made: caffe2onnx 2.0.1, on nets of one Caffe feature each."""
