"""``trace host``: who is meant, from where it is looked, what another relay may ask and say."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from camrelay.daemon.probes.names import Lookup
from camrelay.daemon.tracing import naming, pair
from camrelay.daemon.tracing.allowed import FarQuestion
from camrelay.daemon.tracing.host import FarFound, far_host, host
from camrelay.errors import CamrelayError, FleetError, UsageError
from camrelay.ipmsg.command import Command
from camrelay.trace.facts import Fact
from tests.asked_host import Bench, Host, probes

if TYPE_CHECKING:
    from collections.abc import Callable

NEAR, FAR, OUTSIDE = "10.77.1.11", "10.77.2.11", "10.99.1.1"


class Dns(Lookup):
    """Knows these names; "broken" cannot be looked up."""

    def __init__(self, **names: list[str]) -> None:
        self._names = names

    def forward(self, word: str) -> list[str]:
        if word == "broken":
            raise OSError("Temporary failure")
        return self._names.get(word, [])

    def reverse(self, address: str) -> str:
        return ""


def heard(bench: Bench, *hosts: Host) -> None:
    for one in hosts:
        bench.hear(one, one.presence(Command.BR_ABSENCE), broadcast=True)


async def trace(bench: Bench, **more: Any) -> Any:
    return await bench.run(partial(host, bench.stand, bench.request(**more), bench.tell, probes()))


@pytest.mark.real_time
@pytest.mark.parametrize("word", [NEAR, "taro", "TARO", "taro/pc", "taro@pc", " taro ", "pc-11"])
async def test_all_words_that_mean_a_user(word: str) -> None:
    bench = Bench()
    heard(bench, Host(NEAR, "taro"), Host("10.77.1.12", "hanako"))
    found = await naming.whom(bench.stand, word, Dns(**{"pc-11": [NEAR]}))
    assert (found.address, found.name) == (NEAR, "taro")


@pytest.mark.real_time
async def test_a_host_that_is_no_user_is_found_by_dns_and_an_address_needs_nobody() -> None:
    bench = Bench()
    found = await naming.whom(bench.stand, "printer", Dns(printer=["10.77.1.99"]))
    assert (found.address, found.name, found.user) == ("10.77.1.99", "printer", None)
    found = await naming.whom(bench.stand, OUTSIDE, Dns())
    assert (found.address, found.name) == (OUTSIDE, OUTSIDE)


@pytest.mark.real_time
@pytest.mark.parametrize(("word", "outcome"), [("nobody", "unknown-name"), ("broken", "not-checked")])
async def test_whom_nobody_knows(word: str, outcome: str) -> None:
    found = await naming.whom(Bench().stand, word, Dns())
    assert found.address == ""
    assert found.fact is not None
    assert found.fact.outcome == outcome


async def test_several_are_named_as_candidates() -> None:
    bench = Bench()
    heard(bench, Host(NEAR, "taro"), Host("10.77.1.12", "hanako"))
    with pytest.raises(UsageError) as said:
        await naming.whom(bench.stand, "pc", Dns())
    assert "'pc' may be taro/pc (taro) at 10.77.1.11, hanako/pc (hanako) at 10.77.1.12" in str(said.value)
    assert "logon/host" in str(said.value)


@pytest.mark.parametrize("word", ["", "  ", "999.1.1.1", "10.77.1.256", "10.77.1.0", "10.77.1.255"])
async def test_what_can_be_nobody_is_a_usage_error(word: str) -> None:
    with pytest.raises(UsageError, match=r"no IPv4 address|address of 10\.77\.1\.0/24, no PC's"):
        await naming.whom(Bench().stand, word, Dns())


async def test_the_result_has_the_names_for_the_texts() -> None:
    bench = Bench(Host(NEAR, "taro"))
    heard(bench, Host(NEAR, "taro"))
    found = await trace(bench, target="taro")
    assert (found.target, found.user) == (NEAR, "taro")
    assert found.subject == {"target": NEAR, "user": "taro", "here": "hq", "here_address": "10.77.1.2"}
    assert found.facts[0].check == "name"
    assert 0 < found.seconds < 5
    assert bench.told[0]["subject"]["user"] == "taro"


@pytest.mark.parametrize("more", [{}, {"target": 1}, {"target": "a", "hops": 3}])
async def test_parameters_that_do_not_fit_are_a_usage_error(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await trace(Bench(), **more)


# -- with a fleet -----------------------------------------------------------------------------------------------------


class Fleet:
    """What ``stand.far`` is to a trace: one relay "osaka" in 10.77.2.0/24."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answer = answer

    def find(self, name: str) -> str:
        if name != "osaka":
            raise UsageError(f"no relay {name!r}")
        return "id-osaka"

    def name(self, peer: str) -> str:
        return peer.removeprefix("id-")

    def address(self, peer: str) -> str:
        return "10.77.2.2"

    def beside(self, address: str) -> list[str]:
        return ["id-osaka"] if address.startswith("10.77.2.") else []

    async def ask(self, peer: str, what: str, params: Any, tell: Any, within: float, form: Any) -> Any:
        self.asked.append((peer, what, params))
        await tell({"begun": "udp"})
        return msgspec.convert(await self._answer(tell), form)


async def well(tell: Any) -> Any:
    await tell({"fact": {"check": "udp", "outcome": "answered"}})
    await tell({"fact": {"check": "udp", "outcome": "answered"}, "begun": 7, "else": []})
    return {"facts": [{"check": "udp", "outcome": "answered", "role": "far", "by": "somebody else"}]}


def joined(*hosts: Host, answer: Callable[..., Any] = well) -> tuple[Bench, Fleet]:
    bench, fleet = Bench(*hosts), Fleet(answer)
    bench.stand.peers = SimpleNamespace()  # type: ignore[assignment]
    bench.stand._far = fleet  # type: ignore[assignment]
    return bench, fleet


async def measured(*_: Any, **__: Any) -> list[Fact]:
    await trio.sleep(1.0)
    return [Fact("link", "linked", role="pair")]


async def test_from_another_relay_alone() -> None:
    bench, fleet = joined(Host(FAR))
    found = await trace(bench, target=FAR, via="osaka")
    assert fleet.asked == [("id-osaka", "host", {"address": FAR})]
    assert found.subject["here"] == "osaka"
    assert [(fact.key, fact.by) for fact in found.facts] == [("udp", "osaka")]
    assert bench.sent == []


async def test_a_relay_that_there_is_none_of_is_a_usage_error() -> None:
    bench, _ = joined()
    with pytest.raises(UsageError, match="kyoto"):
        await trace(bench, target=FAR, via="kyoto")


async def test_what_the_other_relay_cannot_is_said_where_it_was_asked_for_by_name() -> None:
    async def refuses(tell: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise FleetError("osaka is busy")

    bench, _ = joined(answer=refuses)
    with pytest.raises(FleetError, match="busy"):
        await trace(bench, target=FAR, via="osaka")


async def test_no_far_looks_from_here_only() -> None:
    bench, fleet = joined(Host(FAR))
    found = await trace(bench, target=FAR, far=False)
    assert fleet.asked == []
    assert {fact.role for fact in found.facts} == {""}


@pytest.mark.parametrize("address", [FAR, "10.77.1.11", OUTSIDE])
async def test_another_relay_may_ask_for_what_is_ours_to_look_at(address: str) -> None:
    bench = Bench(Host(address))
    asked = FarQuestion("host", msgspec.json.encode({"address": address}), "id", "osaka", "10.77.2.2")
    ask = partial(far_host, bench.stand, asked, bench.tell)
    if address == OUTSIDE:
        with pytest.raises(FleetError):
            await bench.run(ask)
        assert bench.sent == []


def test_what_another_relay_says_has_a_form() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"facts": [{"check": 1}]}, FarFound)
    assert pair.measure is not None
    assert issubclass(FleetError, CamrelayError)
