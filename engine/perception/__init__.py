"""Identity and perceptual features, and the losses made of them."""
