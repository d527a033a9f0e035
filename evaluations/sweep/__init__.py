"""A sweep: conditions, plan, run directory, workers, execution."""
