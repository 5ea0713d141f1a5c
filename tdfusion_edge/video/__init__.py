"""Reading video files: one decoder for cameras that are files and for pairs that are trained on."""
