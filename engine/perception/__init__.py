"""How pictures are seen: who is in them (identity), how alike they look (perceptual), and the losses made of both."""
