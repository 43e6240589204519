"""Likeness: which checkpoints hold the same weights, and which hold weights that belong elsewhere."""
