"""What Gradio keeps of whoever called: a session, which ends when nobody has used it for an hour.

Gradio makes one for each call of a program and for each name that a caller makes up, a tenth of a
megabyte, and keeps the latest 10,000: a gigabyte. It forgets none but to make room for the next,
and then without the end that deletes a visitor's photos.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice, takewhile

import gradio as gr
import gradio.routes
from gradio.state_holder import SessionState, StateHolder

KEPT = 100  # sessions in which nothing is kept; more than can be under way at once
SECONDS_UNUSED = 3600  # an open page uses its own every ten minutes


def forget_calls() -> None:
    """From now on, have apps forget the sessions that nobody uses."""
    gradio.routes.StateHolder = Sessions


class Sessions(StateHolder):
    """Keeps the sessions of the page, and the newest of those in which nothing is kept.

    Once it is loaded, the page keeps a visitor's things (`page.session.Session`) in a session of
    Gradio's, until an hour after it was closed. A program's call keeps nothing there. However such
    a session is forgotten, what it kept is ended: the visitor's files are deleted.

    Args:
        clock: tells the time in seconds; one that nobody sets, or the night when summer time begins
            would take an hour from everybody.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._used: dict[str, float] = {}

    def __getitem__(self, session_id: str) -> SessionState:
        """A session, made when it is first asked for."""
        if session_id not in self:
            self._forget()
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Note that a session is used; where there are too many, end the least recently used."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
                self._used[session_id] = self._clock()
            surplus = [*islice(self.session_data, max(0, len(self.session_data) - self.capacity))]
        self._end(surplus)

    def delete_all_expired_state(self) -> None:
        """End what nobody uses any more; Gradio calls this once a second."""
        super().delete_all_expired_state()
        since = self._clock() - SECONDS_UNUSED
        with self.lock:  # the least recently used first
            unused = takewhile(lambda name: self._used.get(name, since) < since, self.session_data)
            unused = [*unused]
        self._end(unused)

    def _end(self, names: list[str]) -> None:
        """Forget sessions, and do what their states want done when they are deleted.

        Gradio's own way passes over a state that no event has given out.
        """
        for name in names:
            session = self._drop(name)
            for number, value in [] if session is None else [*session.state_data.items()]:
                state = session.blocks_config.blocks.get(number)
                if isinstance(state, gr.State):
                    state.delete_callback(value)

    def _drop(self, name: str) -> SessionState | None:
        with self.lock:
            self._used.pop(name, None)
            self.time_last_used.pop(name, None)
            return self.session_data.pop(name, None)

    def _forget(self) -> None:
        with self.lock:
            sessions = [*self.session_data.items()]  # the most recently used last
        empty = [name for name, session in sessions if not session.state_data]
        for name in empty[: max(0, len(empty) - KEPT)]:
            self._drop(name)
