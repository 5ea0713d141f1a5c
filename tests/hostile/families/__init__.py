"""The cases, a module a kind of input; each has ``CASES``."""
