"""Live rigs: what faults of cameras do to a run, and how they come back."""
