"""Evaluation: a model folder and photos go in, figures and verdicts come out.

Here stand the commands (`evaluate`, `report`, `explore`, `robustness`, `cross_category`,
`leaderboard`, `threshold_study`, `benchmark`, `inspect_folder`, `reproduce`) and what the figures
are: `metrics` and `pixel_metrics` are arithmetic on arrays and know no model, `summary` puts both
together, METRICS.md says what they mean. The rooms do the commands' work: `measuring` shows the
photos to a model, `writing` makes documents, and `reporting`, `exploring`, `perturbing`,
`thresholds`, `timing` and `inspecting` belong to one command each. No map, score or verdict is
computed here: they all come from the model's `detect`.
"""
