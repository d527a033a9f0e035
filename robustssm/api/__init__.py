"""What `import robustssm` offers: models, perturbations, sweeps, runs, transfer functions."""
