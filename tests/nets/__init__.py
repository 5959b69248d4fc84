"""Published architectures as Caffe's authors named their layers, written out by generators."""
