"""Live rigs: what faults of cameras do to a run, how they come back, and what the live page costs."""
