"""What is measured of an untrained system: transfer functions, norms, convergence, conditioning."""
