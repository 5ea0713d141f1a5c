"""The loop: pairs in, fused, out to the sinks, and counted."""
