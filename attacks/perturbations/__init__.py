"""The families of perturbations, one a file, and the table of their names."""
