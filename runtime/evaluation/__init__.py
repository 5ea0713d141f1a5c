"""How good fused pictures and detections are, and how near two back ends come to each other."""
