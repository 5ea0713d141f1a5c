"""Folds trained networks into ONNX bundles; needs the ``export`` extra."""
