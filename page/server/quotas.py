"""How much one address may ask within a minute, and what each has left: arithmetic, no requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from page.server.limits import CALLS_PER_MINUTE, UPLOAD_MB_PER_MINUTE, WRONG_PASSWORDS_PER_MINUTE


@dataclass(frozen=True)
class Quotas:
    """What one address may do within a minute; infinity for any number."""

    calls: float = CALLS_PER_MINUTE  # requests that are neither uploads nor answered at once
    upload_bytes: float = UPLOAD_MB_PER_MINUTE * 2**20  # bodies of all requests together
    wrong_passwords: float = WRONG_PASSWORDS_PER_MINUTE  # attempts to log in that fail

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Quotas:
        """The quotas that APP_CALLS_PER_MINUTE and APP_UPLOAD_MB_PER_MINUTE set; 0 is no limit.

        Raises:
            ValueError: when one of them is no number, or negative.
        """
        calls = _number(environment, "APP_CALLS_PER_MINUTE", CALLS_PER_MINUTE)
        megabytes = _number(environment, "APP_UPLOAD_MB_PER_MINUTE", UPLOAD_MB_PER_MINUTE)
        return cls(calls, megabytes * 2**20)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    given = environment.get(name, "").strip()
    try:
        number = float(given or default)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {given!r}, expected a number from 0 on; 0 means no limit.")
    return number or math.inf


class Allowance:
    """What an address has left of `most`; it grows back evenly, from nothing to all in a minute."""

    def __init__(self, quotas: Quotas, clock: Callable[[], float]) -> None:
        self.most = vars(quotas)
        self._left = dict(self.most)
        self._clock, self._now = clock, clock()  # in seconds

    def grow(self) -> None:
        """Bring it up to the time that it is now."""
        before, self._now = self._now, self._clock()
        share = (self._now - before) / 60
        for name, most in self.most.items():
            if math.isfinite(most):
                self._left[name] = min(most, self._left[name] + share * most)

    def take(self, **amounts: float) -> str | None:
        """Take an amount of each of these quotas; None where all have as much.

        Else nothing is taken, and the answer is the name of the first that has not.
        """
        for name, amount in amounts.items():
            if self._left[name] < amount:
                return name
        for name, amount in amounts.items():
            self._left[name] -= amount
        return None

    def give_back(self, **amounts: float) -> None:
        """Undo a `take`."""
        for name, amount in amounts.items():
            self._left[name] = min(self.most[name], self._left[name] + amount)

    def seconds_until(self, name: str, amount: float) -> int:
        """When there will be as much; a minute where there never will be."""
        missing = min(amount, self.most[name]) - self._left[name]
        return min(60, max(1, math.ceil(60 * missing / self.most[name])))
