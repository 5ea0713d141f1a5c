"""Zones and lines of the picture, and who enters, leaves, stays and crosses."""
