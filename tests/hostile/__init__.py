"""Bad input, everyday and hostile, for every command: see ``case.py``."""
