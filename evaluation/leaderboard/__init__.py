"""Evaluations side by side, and beside figures that others have published."""
