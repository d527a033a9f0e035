"""What is measured: sweeps, their statistics, transfer functions and convergence."""
