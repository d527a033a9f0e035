"""What is shown: one figure a file, `data` -> frame, `draw` -> picture."""
