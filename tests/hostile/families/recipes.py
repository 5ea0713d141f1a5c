"""Recipes: every number of one, and what else a TOML file can be, through ``train``."""

from __future__ import annotations

RECIPE = """
name = "bad"
network = "edge"
strategy = "fixed"
validate_every = 1

[augmentation]
crop = 32

[optimiser]
steps = 1
batch = 1

[[data]]
folder = "."
terms = "made up"

[[data]]
folder = "."
part = "validation"
terms = "made up"
"""

CASES = ()
