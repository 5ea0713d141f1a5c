"""Our kernels without a GPU: compiled by g++ for an emulated one, and asked what they move."""
