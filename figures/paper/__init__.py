"""Figures of the paper's experiments, one a file."""
