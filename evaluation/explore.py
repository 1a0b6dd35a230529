"""`python evaluation/explore.py`: `python -m evaluation.explore`, by its path."""

from by_path import run

run("evaluation.explore")
