"""Live rigs: what faults of cameras do to a run."""
