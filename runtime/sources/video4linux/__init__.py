"""Cameras of the Linux kernel's own interface, without a library between: ``linux/videodev2.h``."""
