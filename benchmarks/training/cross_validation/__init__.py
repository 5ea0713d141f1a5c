"""What a fused picture is worth to a detector: every labelled pair scored by networks that never saw it."""
