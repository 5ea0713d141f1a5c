"""Live rigs: what faults of cameras do to a run, and what the live page costs."""
