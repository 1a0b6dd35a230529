"""A batch that one visitor gives, and how long another one waits for a single photo meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tests.strength.visitors import (
    NoVerdictError,
    Visitor,
    call,
    connected,
    inspect_once,
    upload,
)

ALONE = 10  # inspections that say how long one waits without a batch
PAUSE = 1.0  # seconds between the other visitor's inspections


@dataclass(frozen=True)
class Batch:
    """What came of a batch.

    Attributes:
        results: how many photos were answered with a verdict.
        seconds: from the call until the answer.
        alone: seconds that the other visitor waited for each verdict before the batch.
        meanwhile: the same while it ran.
        samples: of the watched number, one at each of the other visitor's inspections.
    """

    results: int
    seconds: float
    alone: Sequence[float]
    meanwhile: Sequence[float]
    samples: Sequence[int | None]


def measure_batch(
    address: str,
    visitors: Sequence[Visitor],
    count: int,
    watch: Callable[[], int | None] = lambda: None,
) -> Batch:
    """Give a batch of the visitors' photos, and inspect one photo again and again beside it.

    Args:
        address: of an app that has the visitors' model loaded.
        visitors: whose photos are given in turn.
        count: photos of the batch.
        watch: a number that is read at each inspection, such as the app's memory.

    Raises:
        NoVerdictError: when there is no answer.
    """
    other = visitors[0]
    alone = [_wait_of(address, other) for _ in range(ALONE)]
    meanwhile, samples = [], []
    with ThreadPoolExecutor(1) as thread:
        batch: Future[tuple[int, float]] = thread.submit(_give_batch, address, visitors, count)
        while not batch.done():
            wait = _wait_of(address, other)
            if not batch.done():
                meanwhile.append(wait)
                samples.append(watch())
            time.sleep(PAUSE)
        results, seconds = batch.result()
    return Batch(results, seconds, alone, meanwhile, samples)


def _give_batch(address: str, visitors: Sequence[Visitor], count: int) -> tuple[int, float]:
    """How many verdicts there were, and after how many seconds."""
    given = itertools.islice(itertools.cycle(visitors), count)
    with connected(address) as client:
        photos = [upload(client, visitor.photo) for visitor in given]
        start = time.monotonic()
        body = {"photos": photos, "category": visitors[0].category}
        answer = call(client, "inspect_batch", body)
        seconds = time.monotonic() - start
    if "results" not in answer:
        raise NoVerdictError(str(answer))
    return sum("verdict" in result for result in answer["results"]), seconds


def _wait_of(address: str, visitor: Visitor) -> float:
    start = time.monotonic()
    with connected(address) as client:
        inspect_once(client, visitor.category, visitor.photo)
    return time.monotonic() - start
