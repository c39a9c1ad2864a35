"""Benchmarks: each prints ratios to a named peer, timed interleaved in one run."""
