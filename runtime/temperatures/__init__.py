"""Degrees of places in the infrared picture, where the camera's calibration is stated."""
