"""StyleGAN2 with NVIDIA's architecture and parameter names.

Sources: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), equations 1 to 3 for the
modulated convolution; "Training Generative Adversarial Networks with Limited Data" (NeurIPS 2020) for the parameter
names and clamps. ``config`` and ``weights`` need no PyTorch.
"""
