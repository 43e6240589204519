"""Layers: which tensors are rows, what they are for, how deep they lie, and what compares across checkpoints."""
