"""Robustness curves held to what they were: baselines, bands and checks."""
