"""Tensors: where each tensor of a checkpoint lies, from headers alone."""
