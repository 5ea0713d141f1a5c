"""Studies of the training: what a step costs, what a detector gains, what a loss network has learned."""
