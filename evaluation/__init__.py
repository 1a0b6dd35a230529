"""Evaluation: a model folder and labelled photos go in, figures come out.

`prediction` shows the test photos to a model, `metrics` and `pixel_metrics` are arithmetic on
arrays and know no model, `summary` puts both together, `figures` draws, and `evaluate` is the way
through them and the command line. No map, score or verdict is computed here: they all come from the
model's `detect`. METRICS.md says what the figures mean.
"""
