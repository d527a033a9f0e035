"""Statistics on arrays: what they need of a sweep is counts, accuracies and paired outcomes."""
