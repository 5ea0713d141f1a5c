"""Our own CUDA kernels and the device layer that launches them. No TensorRT is needed."""
