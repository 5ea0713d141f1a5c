"""From two frames to one picture: range, registration, stretch, colour, drawing."""
