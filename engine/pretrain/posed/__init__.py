"""Training of a small 3D base: a 2D base's layers, moved onto tri-planes and trained on posed photos."""
