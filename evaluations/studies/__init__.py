"""Recipes that reproduce figures and tables of the PTD paper: one file a recipe."""
