"""Names of addresses, by a resolver from a script."""

from __future__ import annotations

import threading

import pytest
import trio

from camrelay.daemon.probes.names import LONGEST, SYSTEM, THREADS, name_fact, resolve


class Script:
    """A resolver. ``fails``: an error instead of an answer."""

    def __init__(
        self, forward: dict[str, list[str]], reverse: dict[str, str], fails: OSError | None = None
    ) -> None:
        self._forward, self._reverse, self._fails = forward, reverse, fails

    def forward(self, word: str) -> list[str]:
        if self._fails:
            raise self._fails
        return self._forward.get(word, [])

    def reverse(self, address: str) -> str:
        if self._fails:
            raise self._fails
        return self._reverse.get(address, "")


class Dead:
    """A name server that does not answer before the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def forward(self, word: str) -> list[str]:
        self.over.wait()
        return ["10.1.0.2"]

    def reverse(self, address: str) -> str:
        self.over.wait()
        return "late"


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("forward", "reverse", "outcome", "detail"),
    [
        ({"pc": ["10.1.0.9", "10.1.0.2"]}, {"10.1.0.2": "pc"}, "matches", {"name": "pc"}),
        ({"pc": ["10.1.0.9"]}, {"10.1.0.2": "pc"}, "differs", {"name": "pc", "forward": "10.1.0.9"}),
        ({}, {"10.1.0.2": "pc"}, "reverse-only", {"name": "pc"}),
        ({"pc": ["10.1.0.2"]}, {}, "none", {}),
    ],
)
async def test_both_ways_are_compared(
    forward: dict[str, list[str]], reverse: dict[str, str], outcome: str, detail: dict[str, str]
) -> None:
    fact = await name_fact("10.1.0.2", Script(forward, reverse))
    assert (fact.check, fact.outcome, fact.detail) == ("name", outcome, detail)


@pytest.mark.real_time
async def test_a_broken_resolver_is_not_checked() -> None:
    fact = await name_fact("10.1.0.2", Script({}, {}, OSError(5, "no name server")))
    assert (fact.outcome, fact.detail) == ("not-checked", {"why": "no name server"})


async def test_a_dead_name_server_is_not_waited_for() -> None:
    dead = Dead()
    try:
        for _ in range(THREADS + 2):  # also when all its threads are stuck
            fact = await name_fact("10.1.0.2", dead)
            assert fact.outcome == "not-checked"
            assert "does not answer" in fact.detail["why"]
        assert fact.seconds == 3.0
    finally:
        dead.over.set()


@pytest.mark.real_time
async def test_a_name_becomes_its_addresses() -> None:
    script = Script({"pc": ["10.1.0.2", "10.1.0.9"]}, {})
    assert await resolve("pc", script) == (["10.1.0.2", "10.1.0.9"], None)
    addresses, fact = await resolve("nobody", script)
    assert addresses == []
    assert fact is not None
    assert (fact.outcome, fact.detail) == ("unknown-name", {"name": "nobody"})


@pytest.mark.real_time
@pytest.mark.parametrize("word", ["", "a" * (LONGEST + 1), "line\nbreak", "..", "a" * 64 + ".b"])
async def test_what_cannot_be_a_name_is_an_unknown_one(word: str) -> None:
    addresses, fact = await resolve(word)
    assert addresses == []
    assert fact is not None
    assert fact.outcome == "unknown-name"


async def test_a_name_that_takes_too_long() -> None:
    dead = Dead()
    try:
        with trio.fail_after(10):
            addresses, fact = await resolve("pc", dead)
    finally:
        dead.over.set()
    assert addresses == []
    assert fact is not None
    assert fact.outcome == "not-checked"


@pytest.mark.real_time
async def test_the_system_knows_addresses_as_they_are() -> None:
    assert await resolve("127.0.0.1", SYSTEM) == (["127.0.0.1"], None)
