"""Numbers for judging a personal generator: forgetting, reconstruction, identity. NumPy only."""
