"""A check of the harness itself: a detector whose accuracy is known in closed form."""
