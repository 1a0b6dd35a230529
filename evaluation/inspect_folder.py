"""`python evaluation/inspect_folder.py`: `python -m evaluation.inspect_folder`, by its path."""

from by_path import run

run("evaluation.inspect_folder")
