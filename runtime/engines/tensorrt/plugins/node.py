"""What our node is called: in a graph, and as a plugin."""

from __future__ import annotations

NAMESPACE, NAME, VERSION = "tdfusion", "EdgeFusion", "1"
"""Of the node, its ONNX domain and TensorRT's plugin; the last is also the version of the domain."""
