"""Models of finished sweeps side by side, paired by sample."""
