"""Replay policies: which photos to keep. One policy, one file; all see arrays only."""
