"""The paper's fusion network F (``tdfusion``) by our own kernels: weights, tiles and launches."""
