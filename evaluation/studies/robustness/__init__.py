"""Controlled changes to photos, and what they do to a model's ranking and verdicts."""
