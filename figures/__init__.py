"""What is shown: one figure per file, `data` -> frame, `draw` -> picture."""
