"""What to do about a checkpoint that breaks at one frequency."""
