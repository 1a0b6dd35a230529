"""The processes of `accelerate launch`: what one of them finds or fails at, all of them know.

A process that fails alone leaves the others waiting for it. Whatever may fail is therefore run by
`together`, `everywhere` or `on_main`, at the same point in all processes, and an error is raised in
all of them. A program that was not launched is one process, for which nothing is exchanged.

Without a GPU, `accelerate launch --multi_gpu --num_processes 2` starts two processes all the same;
`--cpu --num_processes 2` starts one (accelerate 1.15).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env

from system.errors import ElsewhereError

Result = TypeVar("Result")

# The main process calibrates, measures and writes alone while the others wait, which may take long.
PATIENCE = timedelta(hours=24)
SECONDS_TO_MEET = 10.0  # those that end; one that ends alone waits in vain


def state() -> PartialState:
    """This process among all of them; joins them the first time."""
    # Unless they are told to compute on the CPU, processes without a GPU each take themselves for
    # the only one, and all of them would write the results.
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu, timeout=PATIENCE)


def processes_here() -> int:
    """How many processes of this program share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def end(code: int) -> NoReturn:
    """End this process with an exit code, which several processes fail with at the same time.

    A process that fails beside others ends at once, after all have met: whichever is faster closes
    the connections, and the threads that hold their other ends would abort the process instead
    (exit code -6).
    """
    if code and processes_here() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        _meet()
        os._exit(code)
    sys.exit(code)


def _meet() -> None:
    """Wait for the other processes that end, for a while: one of them tells why.

    The launcher ends all of them as soon as one has ended, and that one may have nothing to tell.
    """

    def wait() -> None:
        with contextlib.suppress(Exception):  # whatever it is, all are ending
            gather_object([None])

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        meeting = threading.Thread(target=wait, daemon=True)
        meeting.start()
        meeting.join(SECONDS_TO_MEET)


def together(work: Callable[[], Result]) -> list[Result]:
    """Do something in every process and wait for all.

    Results, which can be pickled, and errors are sent to the other processes, so that each has all
    results in the order of the processes. Where the work failed in another process, an
    `ElsewhereError` is raised, and where it failed itself, its own error.
    """
    state()
    result, failure = None, None
    try:
        result = work()
    except Exception as error:  # of any kind: the others wait
        failure = error
    found = gather_object([(result, failure and (str(failure) or type(failure).__name__))])
    if failure is not None:
        raise failure
    for _, message in found:
        if message is not None:
            raise ElsewhereError(message)
    return [result for result, _ in found]


def everywhere(work: Callable[[], Result]) -> Result:
    """This process's result of what all do; only errors are sent, and raised as by `together`."""
    kept: list[Result] = []
    together(lambda: kept.append(work()))
    return kept[0]


def on_main(work: Callable[[], Result]) -> Result | None:
    """Do something in the main process alone; the others wait, and get None or its error."""
    return everywhere(lambda: work() if state().is_main_process else None)


def main_first(work: Callable[[], Result]) -> Result:
    """As `everywhere`, but first in the main process: the others find what it left cached."""
    found = on_main(work)
    return everywhere(lambda: found if state().is_main_process else work())
