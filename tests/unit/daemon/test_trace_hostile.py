"""Traces among strangers: what forged datagrams, a hostile member or a hostile local user cannot do by them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from camrelay.cli.pcapng import create
from camrelay.cli.report_names import Anonymous, without_secrets
from camrelay.daemon import control
from camrelay.daemon.answers import Request
from camrelay.daemon.tap import Seen, Tap
from camrelay.daemon.tracing import SPEAKS, Stand
from camrelay.daemon.tracing.allowed import may_look, too_deep
from camrelay.daemon.tracing.interview import MOST_ANSWERS, Interview
from camrelay.daemon.tracing.sieve import Sieve, Words
from camrelay.daemon.tracing.speaking import speak
from camrelay.errors import CamrelayError, FleetError, UsageError
from camrelay.ipmsg.command import Command
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.relay.why import search
from tests.unit.daemon.test_control import FakeAnswers, raw

DEEP = b"[" * 30_000 + b"]" * 30_000


@pytest.mark.real_time
@pytest.mark.parametrize("more", [DEEP, b"[" * 500 + b"]" * 500, b'{"a":' + DEEP + b"}"])
async def test_deep_json_at_the_control_socket_ends_nothing(tmp_path: Path, more: bytes) -> None:
    async def host(request: Any, tell: Any) -> object:
        return request.args(dict[str, Any])

    made = control.Control(FakeAnswers(), None, {"host": (False, host)})
    path = str(tmp_path / "control.sock")
    listener, _ = control.listen(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listener)
        answer = await raw(path, b'{"v":1,"do":"host","more":' + more + b"}\n")
        assert not answer["ok"]
        assert answer["exit"] == 2
        assert (await raw(path, b'{"v":1,"do":"status"}\n'))["ok"]
        nursery.cancel_scope.cancel()


@pytest.mark.real_time
@pytest.mark.parametrize("result", ["\udcff", {"name": "\ud800"}, object()])
async def test_what_cannot_be_encoded_ends_one_answer_and_not_the_daemon(
    tmp_path: Path, result: object
) -> None:
    async def host(request: Any, tell: Any) -> object:
        await trio.lowlevel.checkpoint()
        return result

    made = control.Control(FakeAnswers(), None, {"host": (False, host)})
    path = str(tmp_path / "control.sock")
    listener, _ = control.listen(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listener)
        answer = await raw(path, b'{"v":1,"do":"host"}\n')
        assert not answer["ok"]
        assert "bug" in answer["error"]
        assert (await raw(path, json.dumps({"v": 1, "do": "status"}).encode() + b"\n"))["ok"]
        nursery.cancel_scope.cancel()


# -- a hostile member of the fleet -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 17 + b"]" * 17, True),
        (b'{"a":' * 40, True),
        (b"[" * 16 + b"]" * 16, False),
        (b"[]," * 1000, False),
        (b'["' + b"[" * 1000 + b'","\\"[[[[[[[[[[[[[[[[[[[[["]', False),
    ],
)
def test_how_deep_an_answer_is_counts_without_what_people_wrote(body: bytes, deep: bool) -> None:
    assert too_deep(body) is deep


@pytest.mark.real_time
@pytest.mark.parametrize("body", [b'"' + b'\\"' * 32_000, b'"a' * 32_000 + b"\\", b'"' + b"\\" * 64_000])
def test_looking_how_deep_it_is_takes_no_square_of_the_length(body: bytes) -> None:
    began = time.perf_counter()
    too_deep(body)
    assert time.perf_counter() - began < 1


class Snapshots:
    """A relay that counts how often everything is looked up."""

    def __init__(self) -> None:
        self.taken = 0
        self.look = SimpleNamespace(at=lambda address: None)

    def snapshot(self, now: float) -> Any:
        self.taken += 1
        rows = [
            ("10.1.0.*", None, 254),
            ("10.2.0.7", None, 1),
            ("10.3.0.0/24", "eth0", 0),
            ("8.8.0.0/16", None, 0),
            ("10.9.0.0/16", None, 0),
        ]
        segments = [SimpleNamespace(name=n, interface=i, addresses=a) for n, i, a in rows]
        return SimpleNamespace(segments=segments)


async def test_a_peers_search_looks_up_the_segments_once() -> None:
    relay = Snapshots()
    stand = cast("Any", SimpleNamespace(relay=relay))
    may_look(stand, *(f"10.1.0.{n}" for n in range(256)), "10.2.0.7", "10.3.0.9", ours=True)
    assert relay.taken == 1
    for outside in ("10.2.0.8", "8.8.8.8", "nonsense", "10.1.0.1/8", "10.1.0.01"):
        with pytest.raises(FleetError, match="not looked at"):
            may_look(stand, "10.1.0.1", outside, ours=True)


async def test_a_segment_that_only_a_member_claims_is_not_searched_for_it() -> None:
    stand = cast("Any", SimpleNamespace(relay=Snapshots()))
    may_look(stand, "10.9.8.8")  # one host by `trace host` may be looked at; how often is bounded
    with pytest.raises(FleetError, match="in no segment of this relay: not looked at"):
        may_look(stand, "10.9.8.8", ours=True)


async def test_what_a_member_claims_of_the_internet_is_looked_at_only_where_somebody_is_known() -> None:
    relay = Snapshots()
    stand = cast("Any", SimpleNamespace(relay=relay))
    with pytest.raises(FleetError, match="nobody known is there: not looked at"):
        may_look(stand, "8.8.8.8")
    relay.look.at = lambda address: "goro"
    may_look(stand, "8.8.8.8")


# -- a stranger on the wire ------------------------------------------------------------------------------


def test_a_reader_with_a_bug_loses_its_datagrams_and_the_relay_none() -> None:
    tap = Tap()

    def broken(seen: Seen) -> bool:
        raise ZeroDivisionError

    with tap.listen(broken) as ear, tap.listen(lambda seen: True) as other:
        heard: list[Datagram] = []
        datagram = Datagram(b"1:1:a:b:1:", "10.1.0.9", 2425, 2, True, 64)
        tap.receive(lambda d, now: heard.append(d) or [], {}, [datagram], 1.0)  # type: ignore[func-returns-value]
        tap.sent([Transmit(b"x", "10.1.0.9")], 1.0)
        assert heard == [datagram]
        assert ear.lost == 2
        assert len(other.more(9)) == 2


async def test_a_flood_in_the_name_of_a_traced_host_fills_no_memory() -> None:
    config = SimpleNamespace(relay=SimpleNamespace(codepage="cp932"))
    talk = Interview(cast("Any", SimpleNamespace(interfaces=tuple, config=lambda: config)), "10.1.0.9")
    for n in range(1000):
        for command, body in ((3, b"nick%d" % n), (Command.SENDINFO, b"version %d" % n)):
            data = b"1:%d:l%d:h:%d:%b" % (n, n, command, body)
            talk._take(Datagram(data, "10.1.0.9", 2425, 2, False, 64), 1.0)
    assert len(talk.answers) == len(talk.versions) == MOST_ANSWERS
    assert len(talk.names) <= 8


async def test_what_a_peer_has_us_send_there_does_not_end_a_trace() -> None:
    talk = Interview(cast("Any", SimpleNamespace(interfaces=tuple)), "10.1.0.9")
    talk._note(b"1:1:cut of", 1.0)
    assert not talk.small


# -- a local user, who may only look ---------------------------------------------------------------------


@pytest.mark.real_time
@pytest.mark.parametrize("word", ["あ" * 20_000, "aé" * 20_000, "x" * 60_000])
def test_a_long_word_to_search_for_does_not_stall_the_relay(word: str) -> None:
    began = time.perf_counter()
    assert list(search([], word)) == []
    assert time.perf_counter() - began < 0.05


@pytest.mark.parametrize("users", [["x"] * 17, ["x" * 81]])
async def test_names_to_watch_for_are_few_and_short(users: list[str]) -> None:
    config = SimpleNamespace(relay=SimpleNamespace(codepage="cp932"))
    stand = SimpleNamespace(config=lambda: config, relay=SimpleNamespace(look=SimpleNamespace(at=None)))
    with pytest.raises(UsageError, match="--user"):
        Sieve(Words(users=users), cast("Any", stand))


async def test_speaking_is_not_tested_all_the_time() -> None:
    nothing = cast("Any", None)
    stand = Stand(Tap(), nothing, nothing, nothing, config=nothing, interfaces=tuple, peers=None)
    request = Request(1, "speak")

    async def tell(event: object) -> None:
        await trio.lowlevel.checkpoint()

    for _ in range(SPEAKS):
        assert await speak(stand, request, tell) == {"facts": []}
    with pytest.raises(CamrelayError, match="too often"):
        await speak(stand, request, tell)
    root = Request(1, "speak", trusted=True)
    assert await speak(stand, root, tell) == {"facts": []}  # whom nobody locks out
    await trio.sleep(10)
    assert await speak(stand, request, tell) == {"facts": []}


# -- files -----------------------------------------------------------------------------------------------


def test_an_old_capture_file_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "old.pcapng"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with create(path, "test"):
        assert path.stat().st_mode & 0o777 == 0o600
    with create(Path("/dev/null"), "test"):
        pass
    assert Path("/dev/null").stat().st_mode & 0o777 != 0o600


@pytest.mark.parametrize(
    "text",
    [
        'redis = {url = "redis://h", password = "hunter2"}',
        '# password = "hunter2"',
        '"password" = "hunter2"',
        'password = """\nhunter2\n"""',
        'token = [\n "hunter2",\n]',
        "secret = 'hunter2'",
        'secret = "a\\"hunter2"',
        'url = "redis://user:a/hunter2@h:6379"',
        'url = "redis://user:a@hunter2@h:6379"',
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
    ],
)
def test_secrets_are_found_wherever_they_stand(text: str) -> None:
    cleaned, removed = without_secrets(text)
    assert "hunter2" not in cleaned
    assert removed == 1


def test_short_names_of_relays_are_replaced_where_they_are_values() -> None:
    names = Anonymous(b"salt")
    shown = names.values({"via": "hq", "server": "hq", "detail": {"witness": "hq", "names": ["su"]}})
    assert "hq" not in str(shown)
    assert "su" not in shown["detail"]["names"]
