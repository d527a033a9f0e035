"""Certified radii: bounds on what a perturbation can do, and what they are made of."""
