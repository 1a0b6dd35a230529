"""What Gradio keeps of whoever called: a session, of which those of programs are soon forgotten.

Gradio makes a session for each call of a program, a tenth of a megabyte, and keeps the latest
10,000: a gigabyte, and the next call would end the visit of whoever has used the page least lately.
"""

from __future__ import annotations

import gradio.routes
from gradio.state_holder import SessionState, StateHolder

KEPT = 100  # sessions in which nothing is kept; more than can be under way at once


def forget_calls() -> None:
    """From now on, have apps forget the sessions in which nothing is kept."""
    gradio.routes.StateHolder = Sessions


class Sessions(StateHolder):
    """Keeps the sessions of the page, and the newest of those in which nothing is kept.

    The page keeps its visit in a session as soon as it is loaded, and until an hour after it was
    closed. A program's call keeps nothing; should it still be under way, it has its session.
    """

    def __getitem__(self, session_id: str) -> SessionState:
        """A session, made when it is first asked for."""
        if session_id not in self:
            self._forget()
        return super().__getitem__(session_id)

    def _forget(self) -> None:
        with self.lock:
            sessions = [*self.session_data.items()]  # the most recently used last
            empty = [name for name, session in sessions if not session.state_data]
            for name in empty[: max(0, len(empty) - KEPT)]:
                del self.session_data[name]
                self.time_last_used.pop(name, None)
