"""Data in, model folder out."""
