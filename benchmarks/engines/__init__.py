"""What TensorRT-RTX makes of each network, from the logs of its builds, and what FP16 costs."""
