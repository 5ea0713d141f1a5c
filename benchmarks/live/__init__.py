"""Benchmarks of live cameras."""
