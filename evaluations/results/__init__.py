"""A run read back: cells, summary, paired tests, tables, state."""
