"""Tests written as ``async def`` run under trio, on a clock that jumps over every sleep."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

# How long an example takes says more of the machine than of us.
settings.register_profile("camrelay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("camrelay")


def pytest_configure(config: pytest.Config) -> None:
    """The one marker of this file."""
    config.addinivalue_line("markers", "real_time: an async test that waits for threads or sockets")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test; ``@pytest.mark.real_time`` gives it the real clock (threads, sockets)."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    real = pyfuncitem.get_closest_marker("real_time")
    trio.run(partial(pyfuncitem.obj, **arguments), clock=None if real else MockClock(autojump_threshold=0))
    return True
