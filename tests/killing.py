"""Kills of a process at each point at which it touches a folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# What Python's audit hooks call the ways in which it changes a disk.
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def killed_at_each_change(make: Callable[[], Path], work: Callable[[Path], None]) -> Iterator[Path]:
    """Do some work in a child that is killed before its first change of a folder, its second, ...

    Args:
        make: returns a folder anew, as it is before the work.
        work: changes it.

    Yields:
        The folder after each kill; last, after the work was done undisturbed.
    """
    for survived in range(10_000):
        folder = make()
        child = os.fork()
        if child == 0:
            _kill_after(survived, folder)
            try:
                work(folder)
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        yield folder
        if status != signal.SIGKILL:
            assert status == 0, "the work failed"
            return


def _kill_after(survived: int, folder: Path) -> None:
    left = survived

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event not in CHANGES or not _concerns(arguments, folder):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(hook)


def _concerns(arguments: tuple, folder: Path) -> bool:
    # A removal inside a folder that is held open names the file alone, beside the folder's number.
    held = [one for one in arguments if isinstance(one, int) and one > 2]
    paths = [str(one) for one in arguments if isinstance(one, str | Path)]
    return any(path.startswith(str(folder)) for path in paths) or bool(
        held and any("/" not in path for path in paths)
    )
