"""Where traces run: what goes wrong in one is told to who asked for it, and the relay goes on."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
import trio

from camrelay.daemon.answers import Request
from camrelay.daemon.log import Log
from camrelay.daemon.tap import Tap
from camrelay.daemon.tracing import KEPT, MOST_AT_ONCE, OFTEN, PARTS, Stand, find
from camrelay.errors import CamrelayError, FleetError, UsageError


def stand(log: Log) -> Stand:
    nothing = cast("Any", None)
    return Stand(Tap(), nothing, nothing, log, config=nothing, interfaces=nothing, peers=None)


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(written: io.StringIO) -> Log:
    made = Log()
    made.open(stream=written)
    return made


def test_a_bug_is_told_logged_with_its_place_and_counted(log: Log, written: io.StringIO) -> None:
    made = stand(log)
    try:
        raise ExceptionGroup("a nursery", [ZeroDivisionError("of mine")])
    except ExceptionGroup as error:
        told = made.meant(error, "host:host")
    assert isinstance(told, CamrelayError)
    assert "ZeroDivisionError: of mine" in str(told)
    assert "camrelay report" in str(told)
    assert made.counters == {"traces ended by a bug": 1}
    assert "host:host" in written.getvalue()
    assert "test_stand.py" in written.getvalue()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UsageError("no such user"), UsageError),
        (ExceptionGroup("", [ExceptionGroup("", [FleetError("away")])]), FleetError),
        (trio.BrokenResourceError("gone"), trio.BrokenResourceError),
        (ExceptionGroup("", [trio.BrokenResourceError("gone"), UsageError("x")]), UsageError),
    ],
)
def test_what_is_meant_for_people_or_the_control_socket_stays_what_it_is(
    log: Log, error: Exception, told: type[Exception]
) -> None:
    made = stand(log)
    assert type(made.meant(error, "host:host")) is told
    assert made.counters == {}


async def test_too_many_at_once_are_refused(log: Log) -> None:
    made = stand(log)
    made.running = MOST_AT_ONCE
    _, answer = made.requests()["host"]
    with pytest.raises(CamrelayError, match="busy"):
        await answer(Request(1, "host", trusted=True), cast("Any", None))
    assert made.running == MOST_AT_ONCE


async def test_those_who_may_only_look_leave_places_for_root(log: Log) -> None:
    made = stand(log)
    made.running = MOST_AT_ONCE - KEPT
    _, answer = made.requests()["discovered"]
    with pytest.raises(CamrelayError, match="busy: 6 traces"):
        await answer(Request(1, "discovered"), cast("Any", None))
    assert await answer(Request(1, "discovered", trusted=True), cast("Any", None))


async def test_those_who_may_only_look_ask_so_often_together_and_root_as_often_as_it_likes(log: Log) -> None:
    made = stand(log)
    _, answer = made.requests()["discovered"]

    async def ask(**who: bool) -> None:
        await answer(Request(1, "discovered", **who), cast("Any", None))

    for _ in range(OFTEN):
        await ask()
    with pytest.raises(CamrelayError, match="asked too often: try again in 10 s, or as root"):
        await ask()
    for _ in range(2 * OFTEN):
        await ask(trusted=True)
    await trio.sleep(10)
    await ask()


async def test_without_a_fleet_other_relays_cannot_be_asked(log: Log) -> None:
    with pytest.raises(FleetError, match="in no fleet"):
        _ = stand(log).far


@pytest.mark.real_time
@pytest.mark.parametrize("place", sorted({place for _, place in PARTS.values()}))
async def test_every_part_is_there(place: str) -> None:
    assert callable(await find(place))
