"""What goes wrong with one sensor of a pair: one definition for the training and for the robustness table."""
