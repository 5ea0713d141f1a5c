"""Trains the fusion networks; needs the ``train`` extra (PyTorch, safetensors, tqdm)."""
