"""Searches for the worst: the worst mode, the smallest strength of a sample, masked gradients."""
