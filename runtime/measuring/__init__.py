"""How long the program takes here, and what it costs: the parts of ``bench`` and of the benchmarks."""
