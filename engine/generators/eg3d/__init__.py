"""EG3D with NVIDIA's architecture and parameter names: tri-planes of a StyleGAN2, volume rendering, enlargement."""
