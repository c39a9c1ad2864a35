"""Measures of reconstruction, identity and forgetting, named for what computes them."""
