"""`python evaluation/leaderboard.py`: `python -m evaluation.leaderboard`, by its path."""

from by_path import run

run("evaluation.leaderboard")
