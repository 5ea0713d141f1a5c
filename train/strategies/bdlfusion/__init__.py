"""Strategy ``bdlfusion``: fusion above, a discriminator and a task network that learn below it."""
