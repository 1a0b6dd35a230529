"""The results as Parquet, a part file at a time; a part is there as a whole or not at all.

Whatever ends the program, its rows are those of the parts, and a photo is done exactly when it has
a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.inspect_folder.errors import FolderError
from system.files import whole_file

PATTERN = "part-*.parquet"
START = re.compile(r"part-(\d+)-\d+-\d+\.parquet")

Row = dict[str, Any]

REGION = pa.struct(
    {
        "left": pa.int32(),
        "top": pa.int32(),
        "right": pa.int32(),
        "bottom": pa.int32(),
        "area": pa.float64(),
        "peak": pa.float64(),
        "shape": pa.string(),
        "at_outline": pa.bool_(),
        "apart": pa.bool_(),
    }
)
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "verdict": pa.string(),
        "score": pa.float64(),
        "raw_score": pa.float64(),
        "threshold": pa.float64(),
        "doubt": pa.string(),
        "region_count": pa.int32(),
        "regions": pa.list_(REGION),
        "note": pa.string(),
        "error": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "bytes": pa.int64(),
        "sha256": pa.string(),
        "category": pa.string(),
        "model": pa.string(),
        "model_sha256": pa.string(),
        "overlay": pa.string(),
        "time": pa.timestamp("ms", tz="UTC"),
    }
)


class PartWriter:
    """Collects rows and writes them, a part of `size` rows at a time, numbered in its process.

    Some more rows where they belong to one batch, which stays whole: what is left after a kill is
    whole batches, so a photo's company, on which the last digits of its score depend, is the same
    then. `start` says how often the program was started for this folder, this time included.
    """

    def __init__(self, folder: Path, start: int, process: int, size: int) -> None:
        self._folder, self._size = folder, size
        self._name = f"part-{start:04d}-{process:03d}"
        self._rows: list[Row] = []
        self._written = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of a batch; where no part can be written, for want of room, an OSError."""
        self._rows += rows
        if len(self._rows) >= self._size:
            self.write()

    def write(self) -> None:
        """Write the rows that wait; raises as `add` does."""
        if not self._rows:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(self._rows, SCHEMA), sink, compression="zstd")
        name = f"{self._name}-{self._written:05d}.parquet"
        with whole_file(self._folder / name) as draft:
            draft.write_bytes(sink.getvalue())
        self._rows, self._written = [], self._written + 1


def next_start(folder: Path) -> int:
    """1 if nothing was written yet, else one more than the largest START of the parts' names."""
    found = [START.fullmatch(path.name) for path in folder.glob(PATTERN)]
    return 1 + max((int(match[1]) for match in found if match), default=0)


def read_column(folder: Path, name: str) -> Iterator[Any]:
    """What all the rows that were written have in a column; a FolderError if a part is damaged."""
    for path in sorted(folder.glob(PATTERN)):
        try:
            yield from pq.ParquetFile(path).read(columns=[name])[name].to_pylist()
        except (pa.ArrowException, KeyError) as error:
            raise FolderError(
                f"{path} is no whole part of these results; delete it, and its photos are "
                "inspected again."
            ) from error
