"""Training: the loop, its settings, state and logs, published recipes, the bundled checkpoints."""
