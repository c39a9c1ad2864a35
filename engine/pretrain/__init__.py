"""Training of base generators: adversarial, with an encoder beside it; resumable, on CPUs and GPUs."""
