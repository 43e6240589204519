"""Changes: what is read when, and the sums that come of it."""
