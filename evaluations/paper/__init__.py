"""The experiments of the PTD paper (arXiv 2310.01698), one per file."""
