"""Cameras and files through GStreamer: a pipeline that the user writes, and the CSI cameras of a Jetson."""
