"""Streams synchronised cameras through the exported networks; numpy, OpenCV and an inference engine only."""
