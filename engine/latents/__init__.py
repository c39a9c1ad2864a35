"""Latent codes: inversion of images into W and W+, sampling of the personal subspaces, hull geometry."""
