"""Tracks: which box of one picture is the thing that a box of the next one shows."""

from tdfusion_edge.runtime.tracking.tracker import Tracker

__all__ = ["Tracker"]
