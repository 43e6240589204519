"""Trends: which rows of a series change alike, when, and how sure that is."""
