"""Hull geometry on NumPy arrays: ``projection`` (nearest points) and ``scores`` (how well a few latents cover many).

Nothing is imported here: exported bundles run ``reference`` where the native module is absent.
"""
