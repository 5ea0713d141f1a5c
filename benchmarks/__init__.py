"""Benchmarks under the contract of README.md; not part of the installed package."""
