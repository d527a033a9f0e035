"""trained_layers."""
