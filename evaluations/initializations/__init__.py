"""initializations."""
