"""A street at night, seen by an infrared and a visible camera: the demo and the tests' instrument."""
