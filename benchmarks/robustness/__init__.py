"""What is left of pictures and boxes when one sensor is degraded: cases, the recorded clip, the script."""
