"""Live rigs: faults of cameras and how they come back, their times, their alignment, and the live page."""
