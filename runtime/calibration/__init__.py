"""Calibration: how infrared lies on visible, and how the times of the two cameras lie."""
