"""Operators: for each a folder with its public function, its reference, its kernels and its gradients.

``hull`` and ``synthesis.inference`` take NumPy arrays and need no PyTorch; ``modulated_conv``, ``synthesis.learning``
and ``volume`` are PyTorch functions with gradients.
"""
