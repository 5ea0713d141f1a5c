"""Commands of the runtime, a module each."""
