"""A model folder and photos go in, figures and verdicts come out.

Each command has a package of its name: `evaluate`, `report`, `leaderboard`, `explore` and
`inspect_folder`, which are run as `python -m evaluation.NAME` or by the path of the file beside it;
`studies` holds the questions that are asked now and then. `metrics` and `pixel_metrics` are
arithmetic on arrays and know no model; docs/metrics.md says what they mean. `documents` makes HTML
and Markdown. No map, score or verdict is computed here: they all come from the model's `detect`.
"""
