"""Reports of a run for people: Markdown and HTML."""
