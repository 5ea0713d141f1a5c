"""Live rigs: what faults of cameras do to a run, and how they come back, on real parts on this machine."""
