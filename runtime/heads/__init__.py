"""What looks at the fused picture: boxes, masks."""
