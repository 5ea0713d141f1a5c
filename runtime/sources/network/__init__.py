"""Cameras on the network: RTSP, and live streams over HTTP."""
