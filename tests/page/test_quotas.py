"""How much an address has left, by a clock that the tests set."""

from __future__ import annotations

import math

import pytest

from page.server import rate_limits
from page.server.limits import CALLS_PER_MINUTE, UPLOAD_MB_PER_MINUTE
from page.server.quotas import Allowance, Quotas
from page.server.rate_limits import RateLimits


class Clock:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_environment_sets_the_quotas():
    assert Quotas.of({}) == Quotas(CALLS_PER_MINUTE, UPLOAD_MB_PER_MINUTE * 2**20)
    given = {"APP_CALLS_PER_MINUTE": " 5 ", "APP_UPLOAD_MB_PER_MINUTE": "0.5"}
    assert Quotas.of(given) == Quotas(5, 2**19)
    nothing_to_wait_for = {"APP_CALLS_PER_MINUTE": "0", "APP_UPLOAD_MB_PER_MINUTE": "0"}
    assert Quotas.of(nothing_to_wait_for) == Quotas(math.inf, math.inf)


@pytest.mark.parametrize("name", ["APP_CALLS_PER_MINUTE", "APP_UPLOAD_MB_PER_MINUTE"])
@pytest.mark.parametrize("value", ["-1", "many", "nan", "inf", "1,5"])
def test_what_is_no_rate_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}', expected a number"):
        Quotas.of({name: value})


def test_what_was_taken_grows_back_evenly_within_a_minute(clock):
    clock.now = 100.0
    allowance = Allowance(Quotas(calls=60), clock)
    assert not any(allowance.take(calls=1) for _ in range(60))
    assert allowance.take(calls=1) == "calls"
    assert allowance.seconds_until("calls", 1) == 1
    assert allowance.seconds_until("calls", 10) == 10
    assert allowance.seconds_until("calls", 1000) == 60  # there never will be as much
    clock.now = 110.0
    allowance.grow()
    assert not any(allowance.take(calls=1) for _ in range(10))
    assert allowance.take(calls=1) == "calls"
    clock.now = 1000.0
    allowance.grow()
    assert not any(allowance.take(calls=1) for _ in range(60))
    assert allowance.take(calls=1) == "calls"  # it saves nothing up


def test_one_rate_leaves_the_others_alone_and_what_is_given_back_can_be_taken_again(clock):
    allowance = Allowance(Quotas(calls=1, upload_bytes=1, wrong_passwords=1), clock)
    assert allowance.take(calls=1) is None
    assert allowance.take(upload_bytes=1) is None
    assert allowance.take(wrong_passwords=1) is None
    allowance.give_back(wrong_passwords=5)
    assert allowance.take(wrong_passwords=1) is None
    assert allowance.take(wrong_passwords=1) == "wrong_passwords"


def test_without_a_limit_nothing_runs_out(clock):
    allowance = Allowance(Quotas(calls=math.inf), clock)
    for moment in (0.0, 0.0, 7.0):
        clock.now = moment
        allowance.grow()
        assert allowance.take(calls=10**12) is None


def test_of_many_addresses_those_that_asked_last_are_remembered(clock, monkeypatch):
    monkeypatch.setattr(rate_limits, "MAX_ADDRESSES", 3)
    allowance_of = RateLimits(app=None, quotas=Quotas(calls=1), clock=clock).allowance_of
    for name in ("a", "b", "c"):
        assert allowance_of(name).take(calls=1) is None
    assert allowance_of("a").take(calls=1) == "calls"
    for name in ("d", "e"):
        assert allowance_of(name).take(calls=1) is None
    assert allowance_of.cache_info().currsize == 3
    assert allowance_of("a").take(calls=1) == "calls"  # it had asked after b and c
    assert allowance_of("b").take(calls=1) is None  # forgotten, hence as new
