"""Training of base generators with an encoder beside each; resumable, on CPUs and GPUs."""
