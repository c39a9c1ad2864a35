"""Peers: clean reimplementations of what a user would otherwise run."""
