"""The bundles of the zoo beside each other: what each costs, and how good it is."""
