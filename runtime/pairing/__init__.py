"""Frames of two cameras become pairs by their capture time."""
