"""The experiments of the PTD paper (arXiv 2310.01698) and of its reviewers, one a file."""
