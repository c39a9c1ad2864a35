"""Export of a personal model to the runtimes that phones and GPUs run."""
