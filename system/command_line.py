"""What all command lines share: how a command ends, and how its words are read."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

BAD_INPUT, FAILED = 2, 1  # exit codes: the person can mend it; disk or network did not let us


def run_command(
    name: str,
    work: Callable[[], int | None],
    *,
    bad_input: tuple[type[Exception], ...] = (),
    failed: tuple[type[Exception], ...] = (),
    paths: tuple[Path, str] | None = None,
    speaks: Callable[[Exception], bool] = lambda error: True,
) -> int:
    """Do a command's work, and say in one sentence what stops it.

    Args:
        name: begins the sentence, such as "evaluate.py".
        work: returns the exit code, or None for 0.
        bad_input: errors that are told as they are, with exit code 2.
        failed: the same with exit code 1: nothing was wrong with what was asked for.
        paths: where results go, and the options that name paths; an `OSError` is then told as a
            path that can't be used (see `unusable_path`), with exit code 2.
        speaks: whether this process tells an error; one of several does.
    """
    try:
        return work() or 0
    except (*bad_input, *failed) as error:
        sentence, code = str(error), FAILED if isinstance(error, failed) else BAD_INPUT
        speaking = speaks(error)
    except OSError as error:
        if paths is None:
            raise
        sentence, code, speaking = unusable_path(error, *paths), BAD_INPUT, speaks(error)
    if speaking:
        print(f"{name}: {sentence}", file=sys.stderr)
    return code


def whole_number_from(least: int) -> Callable[[str], int]:
    """What argparse takes as the type of a whole number that is not below `least`, 0 or more."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} up, found {text!r}"
            )
        return int(text)

    return read


def public_path(text: str) -> str:
    """A path as others may read it: of one that leads out of the project, the last part alone."""
    path = Path(text).expanduser()
    return path.name if path.is_absolute() or ".." in path.parts else text


def published_command(program: str, words: Sequence[str]) -> str:
    """A command line for a card: as typed, but for the folders of this machine.

    The program is the path of a script, or "-m" and the name of a package.
    """
    pairs = [word.rpartition("=") for word in words]
    return shlex.join(
        ["python", *program.split(), *(f"{a}{b}{public_path(c)}" for a, b, c in pairs)]
    )


def unusable_path(error: OSError, output: Path, options: str) -> str:
    """One sentence about a path that can't be used, `output` where the error names none.

    It ends with the options to check, such as "--output_dir".
    """
    return (
        f"{error.filename or output} can't be read or written ({error.strerror or error}); check "
        f"{options}."
    )
