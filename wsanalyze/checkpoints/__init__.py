"""Checkpoints: which files make which checkpoint of a sequence, and in which order they were saved."""
