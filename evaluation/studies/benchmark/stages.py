"""Which stage of an inspection takes how long, on the way that every inspection goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import modeling.pipeline
from modeling import InspectionPipeline

DECODE, PREPARE, MODEL, MAP, REGIONS, OVERLAY, REST = STAGES = (
    "decode",  # file -> upright RGB photo
    "prepare",  # photo -> pixel_values of the model's size
    "model",  # pixel_values -> reconstruction, anomaly map, score
    "map",  # anomaly map -> the photo's size
    "regions",  # score map -> verdict, regions, sentence
    "overlay",  # photo and map -> heatmap
    "rest",  # the reconstruction's size, and what the pipeline itself takes
)


class Stopwatch:
    """Seconds by stage; a stage within another one is taken off the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)  # since the last `take`
        self._inner: list[float] = []  # seconds of the stages within each that runs

    def watched(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time written down for a stage."""

        def call(*words: Any, **named: Any) -> Any:
            start = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*words, **named)
            finally:
                whole, inner = time.perf_counter() - start, self._inner.pop()
                self.seconds[stage] += whole - inner
                if self._inner:
                    self._inner[-1] += whole

        return call

    def take(self) -> dict[str, float]:
        """Seconds of every stage since the last time; they start anew."""
        taken = {stage: self.seconds.get(stage, 0.0) for stage in STAGES}
        self.seconds.clear()
        return taken


@contextmanager
def watching(inspect: InspectionPipeline) -> Iterator[tuple[Stopwatch, Callable[..., Any]]]:
    """Watch a pipeline while the block lasts; nothing of it is done a second time.

    Yields:
        The stopwatch, and the pipeline to call.
    """
    watch = Stopwatch()
    with ExitStack() as stack:
        for owner, name, stage in (
            (modeling.pipeline, "open_photo", DECODE),
            (inspect, "preprocess", PREPARE),
            (inspect.detector, "detect", MODEL),
            (inspect.image_processor, "post_process_anomaly_map", MAP),
            (modeling.pipeline, "judge", REGIONS),
            (modeling.pipeline, "silhouette", REGIONS),
            (modeling.pipeline, "paint_heatmap", OVERLAY),
        ):
            function = watch.watched(stage, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, function))
        yield watch, watch.watched(REST, inspect)
