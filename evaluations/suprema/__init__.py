"""Certified suprema over all frequencies: branch and bound with remainders."""
