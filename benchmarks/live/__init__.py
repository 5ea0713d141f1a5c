"""Benchmarks of live cameras, against a real RTSP server on this machine."""
