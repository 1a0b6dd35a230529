"""`python evaluation/evaluate.py`: `python -m evaluation.evaluate`, by its path."""

from by_path import run

run("evaluation.evaluate")
