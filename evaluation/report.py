"""`python evaluation/report.py`: `python -m evaluation.report`, by its path."""

from by_path import run

run("evaluation.report")
