"""What the first verdict needs takes as long to import as Gradio, so both are imported at once."""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading


def begin_imports() -> None:
    """Import torch and the models' code beside whatever the caller imports next.

    The page does not wait for them, and the first inspection finds them there. Nothing looks for
    garbage until then: in what is being imported there is none, and the search takes a fifth of
    the time.
    """
    gc.disable()
    threading.Thread(target=_import_for_verdicts, daemon=True).start()


def _import_for_verdicts() -> None:
    # The first inspection meets the same error and tells it. Here nobody would be told but a person
    # whose command ended while this thread was importing, and by a traceback.
    try:
        with contextlib.suppress(Exception):
            importlib.import_module("modeling")
    finally:
        gc.freeze()  # what is imported stays, so nobody has to look through it again
        gc.enable()
