"""trace why, as the daemon answers it: whom a word means, what is known, what is wrong with it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from camrelay.cli.whycard import worded
from camrelay.config import load
from camrelay.daemon.answers import Request
from camrelay.daemon.history import History
from camrelay.daemon.log import Log
from camrelay.daemon.tap import Tap
from camrelay.daemon.tracing import Stand
from camrelay.daemon.tracing.why import why
from camrelay.errors import UsageError
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build
from camrelay.relay.outputs import Datagram, Interface, Transmit
from camrelay.relay.relay import Relay
from camrelay.trace import words
from camrelay.trace.facts import Fact
from camrelay.trace.judge import judge
from camrelay.trace.reading import verdicts

if TYPE_CHECKING:
    from pathlib import Path

ETH0 = Interface(2, "eth0", "10.1.0.1", "10.1.0.0/24", "10.1.0.255")
ETH1 = Interface(3, "eth1", "10.3.0.1", "10.3.0.0/24", "10.3.0.255")


def presence(logon: str, host: str, nick: bytes, command: int = Command.BR_ENTRY) -> bytes:
    return build(b"1", 7, logon.encode(), host.encode(), command, nick, b"g")


class Box:
    """A relay and its history, without a network. Whoever is in ``deaf`` answers nothing."""

    def __init__(self, tmp_path: Path, *, can_speak: bool = True, more: str = "") -> None:
        path = tmp_path / "camrelay.toml"
        path.write_text(f'[relay]\nname = "box"\n[remote]\nsegments = ["10.2.0.*"]\n{more}')
        config = load(path, {})
        self.relay = Relay(
            config.settings("box"), [ETH0, ETH1], hostname="box", number=1, random=random.Random(1),
            can_speak=can_speak, now=trio.current_time(),
        )  # fmt: skip
        self.history = History()
        self.stand = Stand(
            Tap(), self.relay, lambda outputs, now: None, Log(trio.current_time),
            config=lambda: config, interfaces=lambda: [ETH0, ETH1], peers=None, history=self.history,
        )  # fmt: skip
        self.sent: list[Transmit] = []

    def act(self, outputs: list[Any]) -> None:
        for output in outputs:
            if isinstance(output, Transmit):
                self.sent.append(output)
            else:
                self.history.note(output, trio.current_time())

    def hear(self, data: bytes, source: str = "10.1.0.5", interface: int = 2) -> None:
        self.act(self.relay.receive(Datagram(data, source, 2425, interface, True, 64), trio.current_time()))

    async def wait(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            await trio.sleep(1)
            self.act(self.relay.tick(trio.current_time()))

    async def why(self, word: str) -> dict[str, Any]:
        request = Request(v=1, do="why", more=msgspec.Raw(msgspec.json.encode({"user": word})))
        answer: dict[str, Any] = json.loads(msgspec.json.encode(await why(self.stand, request, self.tell)))
        return answer

    async def found(self, word: str) -> list[str]:
        """The verdicts about the one user, or about nobody."""
        answer = await self.why(word)
        assert len(answer["users"]) <= 1
        facts = (answer["users"][0] if answer["users"] else answer)["facts"]
        return [one.id for one in judge("why", [worded(msgspec.convert(f, Fact), "en") for f in facts])]

    async def tell(self, event: object) -> None:
        """Nobody watches."""


async def outcomes(box: Box, word: str) -> dict[str, str]:
    return {fact["check"]: fact["outcome"] for fact in (await box.why(word))["users"][0]["facts"]}


async def test_a_healthy_user_has_no_finding(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("taro", "PC-01", "田中".encode("cp932")))
    box.hear(presence("hana", "PC-02", b"Hana"), "10.3.0.5", 3)
    assert await box.found("taro") == []
    assert await outcomes(box, "田中") == {
        "known": "yes", "heard": "broadcast", "owner": "ours", "told": "everybody", "charset": "guessed", "twin": "no",
        "same-person": "no", "forgotten": "here", "flapping": "no", "address-shared": "no",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "outcome", "verdict"),
    [
        ("nobody", "no", "why-nobody"),
        ("10.2.0.77", "not-heard", "why-not-heard"),
        ("172.16.0.1", "outside", "why-outside"),
        ("10.1.0.1", "ourselves", "why-ourselves"),
        ("10.1.0.999", "no", "why-nobody"),
    ],
)
async def test_of_nobody_it_is_said_why(tmp_path: Path, word: str, outcome: str, verdict: str) -> None:
    box = Box(tmp_path)
    answer = await box.why(word)
    assert [fact["outcome"] for fact in answer["facts"]] == [outcome]
    assert await box.found(word) == [verdict]


async def test_too_many_and_strange_requests_are_refused(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for n in range(21):
        box.hear(presence("user", f"PC-{n}", b"x"), f"10.1.0.{n + 10}")
    with pytest.raises(UsageError, match="21 users match 'user'"):
        await box.why("user")
    with pytest.raises(UsageError, match="why: "):
        await why(box.stand, Request(v=1, do="why", more=msgspec.Raw(b'{"who":1}')), box.tell)


async def test_a_user_that_comes_and_goes_is_told_of(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("taro", "PC-01", b"Taro"))
    await box.wait(165)
    assert await box.found("taro") == ["why-silent"]
    await box.wait(60)
    assert await box.found("taro") == ["why-gone"]
    history = (await box.why("taro"))["users"][0]["history"]
    assert [(one["what"], one["detail"]) for one in history] == [("left", "silent")]


async def test_names_in_a_wrong_charset_are_a_finding(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("wang", "PC-01", "王伟".encode("gb18030")))
    assert await box.found("wang") == ["why-garbled"]


async def test_names_garbled_by_their_own_client_are_told_apart(tmp_path: Path) -> None:
    box = Box(tmp_path)
    nick = "田中さん".encode().decode("cp932").encode()
    box.hear(presence("taro", "PC-01", nick, Command.BR_ENTRY | Option.UTF8))
    assert await box.found("taro") == ["why-garbled-there"]


async def test_names_with_lost_bytes_are_a_finding(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("taro", "PC-01", "��".encode(), Command.BR_ENTRY | Option.UTF8))
    assert await box.found("taro") == ["why-lost"]


async def test_two_machines_of_one_name(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("taro", "PC-01", b"Taro"), "10.1.0.5")
    box.hear(presence("taro", "PC-01", b"Taro"), "10.1.0.6")
    assert await box.found("taro") == ["why-asking"]
    box.hear(presence("taro", "PC-01", b"Taro"), "10.1.0.5")
    assert await box.found("taro") == ["why-twin"]


async def test_cable_and_wifi_by_turns(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for n in range(4):
        box.hear(presence("taro", "PC-01", b"Taro"), f"10.1.0.{5 + n % 2}")
        await box.wait(20)
        assert (await box.found("taro")) == (["why-flapping"] if n == 3 else [])


async def test_two_machines_at_one_address(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for n in range(4):
        box.hear(presence(f"user{n % 2}", f"PC-{n % 2}", b"x"))
        await box.wait(5)
    rows = (await box.why("10.1.0.5"))["users"]
    shared = [fact["outcome"] for row in rows for fact in row["facts"] if fact["check"] == "address-shared"]
    assert shared == ["yes"] * len(rows)
    assert await box.found("user1") == ["why-address-shared"]


async def test_a_person_with_a_new_pc(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.hear(presence("taro", "OLD", b"Taro"), "10.1.0.5")
    box.hear(presence("taro", "NEW", b"Taro"), "10.1.0.6")
    assert await box.found("taro/new") == ["why-two-pcs"]
    box.hear(presence("taro", "OLD", b"Taro", Command.BR_EXIT), "10.1.0.5")
    assert await box.found("taro/old") == ["why-gone", "why-pc-swapped"]
    assert await box.found("taro/new") == []


async def test_who_may_not_be_told_is_a_finding(tmp_path: Path) -> None:
    box = Box(tmp_path, can_speak=False)
    box.hear(presence("taro", "PC-01", b"Taro"))
    assert await box.found("taro") == []  # there is nobody
    box.hear(presence("hana", "PC-02", b"Hana"), "10.3.0.5", 3)
    assert await box.found("taro") == ["why-mute"]


async def test_who_is_hidden_by_a_rule_is_a_note(tmp_path: Path) -> None:
    box = Box(tmp_path, more='[[share]]\nfrom = ["10.1.0.0/24"]\nto = ["10.3.0.0/24"]\nallow = false\n')
    box.hear(presence("taro", "PC-01", b"Taro"))
    box.hear(presence("hana", "PC-02", b"Hana"), "10.3.0.5", 3)
    assert await box.found("taro") == ["why-hidden"]


@pytest.mark.parametrize("lang", ["en", "ja"])
async def test_every_fact_and_finding_is_said_without_a_gap(tmp_path: Path, lang: Any) -> None:
    box = Box(tmp_path)
    box.hear(presence("wang", "PC-01", "王伟".encode("gb18030")))
    box.hear(presence("hana", "PC-02", b"Hana"), "10.3.0.5", 3)
    for word in ("wang", "hana"):
        answer = (await box.why(word))["users"][0]
        facts = [worded(msgspec.convert(one, Fact), lang) for one in answer["facts"]]
        subject = {"user": word, "address": answer["row"]["address"], "here": "box"}
        said = [words.meaning(fact, lang) for fact in facts]
        for finding in judge("why", facts, subject):
            said += [words.say(finding, lang), words.do(finding, lang)]
        assert not [text for text in said if "?" in text or "{" in text]


def test_every_verdict_about_users_is_pinned_here_or_in_the_fleet() -> None:
    mine = {one.id for one in verdicts().values() if one.about == "why"}
    elsewhere = {"why-owner-away", "why-contested", "why-between"}
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert {id_ for id_ in mine if f'"{id_}"' not in text} == set()
    assert elsewhere <= mine
