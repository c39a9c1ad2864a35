"""Whole synthesis networks (StyleGAN2's skip architecture) in one call, by two doors.

``inference`` renders NumPy arrays with weights packed once, and needs no PyTorch. ``learning`` is a PyTorch function
with gradients, whose weights may change at every step. ``weights`` says what a network is to both. Nothing is imported
here, so that inference stays free of PyTorch.
"""
