"""Face generators with the published architectures and parameter names, and safe loading of their weights."""
