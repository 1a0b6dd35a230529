"""Start a command by the path of a file beside this one, as `accelerate launch` likes to."""

import runpy
import sys
from pathlib import Path


def run(package: str) -> None:
    """Run a command's package as `python -m` does, from whatever folder.

    Python looks for packages in the folder of the file that it was given. The project's lie one
    above; and here, `evaluate` and `metrics` would hide installed libraries of these names.
    """
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module(package, run_name="__main__")
