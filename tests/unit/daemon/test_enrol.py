"""Enrolment on the line: real TLS over loopback, and every way in which a token can be no good."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon import dialling, joining, token
from camrelay.daemon.enrol import (
    FORGIVEN_AFTER,
    MOST_FAILED,
    MOST_FAILED_IN_ALL,
    Enrolment,
    Tries,
)
from camrelay.daemon.fleet import Fleet
from camrelay.daemon.invitations import GOOD_FOR
from camrelay.daemon.peerkey import PeerKey, peer_key_of
from camrelay.daemon.session import Line
from camrelay.daemon.token import Token
from camrelay.daemon.wire import VERSION, Bye, Hello, Join, Member, Ping, Welcome
from camrelay.errors import FleetError, LinkError, TokenError
from tests.fleets import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

SEED = b"one time" * 4
ONE_TIME = PeerKey.from_seed(SEED)
HELLO = Hello(VERSION, "new", "camrelay 9", 1, 0, 0)


class Log:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **keys: object) -> None:
        self.lines.append((event, keys))

    warning = info


class Site:
    """A relay with a port on loopback that does what the door does for a key of an invitation."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self.now = 1e9
        self.fleet = Fleet.open(directory, name, wall=lambda: self.now)
        self.log = Log()
        self.enrolment = Enrolment(self.fleet, self.log)  # type: ignore[arg-type]
        self.fleet.readdress(name, ("127.0.0.1:1",))
        self.served = 0

    async def take(self, stream: trio.SocketStream) -> None:
        """One connection."""
        key = self.fleet.key()
        tls = trio.SSLStream(stream, key.server_context(self.fleet.pins()), server_side=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            await stream.aclose()
            return
        found = peer_key_of(tls)
        assert self.fleet.who(found) == ("invitation", "new")
        line = Line(tls, "127.0.0.1:5", found)
        await self.enrolment.admit(line)
        await line.close()
        self.served += 1

    def invite(self) -> str:
        """A token for ``ONE_TIME``."""
        prepare(self.fleet)
        joining.invite(self.fleet, "new", ONE_TIME.cert)
        return token.write(Token(self.fleet.me.addresses, self.fleet.key().fingerprint, SEED))


@pytest.fixture
def sites(tmp_path: Path) -> Any:
    """Two relays; the first one can be reached as long as the context lasts."""

    @asynccontextmanager
    async def run() -> AsyncIterator[tuple[Site, Site]]:
        hq, new = Site(tmp_path / "hq", "hq"), Site(tmp_path / "new", "new")
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, hq.take, 0)
            port = listeners[0].socket.getsockname()[1]
            hq.fleet.readdress("hq", ("127.0.0.1:9", f"localhost:{port}"))
            yield hq, new
            nursery.cancel_scope.cancel()

    return run


@pytest.mark.real_time
async def test_a_token_makes_a_member_of_both(sites: Any) -> None:
    async with sites() as (hq, new):
        text = hq.invite()
        inviter = await new.enrolment.join(text)
        assert inviter == hq.fleet.me
        assert new.fleet.members == {hq.fleet.me.id: hq.fleet.me}
        assert hq.fleet.members == {new.fleet.me.id: new.fleet.me}
    said = dict(hq.log.lines + new.log.lines)
    assert said["relay enrolled"]["words"] == new.fleet.key().words
    assert said["joined a fleet"]["words"] == hq.fleet.key().words
    assert text[20:] not in str(said)


@pytest.mark.real_time
async def test_used_expired_forged_and_mistyped_tokens_are_told_apart(sites: Any, tmp_path: Path) -> None:
    async with sites() as (hq, new):
        text = hq.invite()
        other = Site(tmp_path / "other", "other")
        with pytest.raises(TokenError, match="mistyped"):
            await new.enrolment.join(text[:-9] + "aaaa" + text[-5:])
        read = token.read(text)
        with pytest.raises(FleetError, match="does not know this token: it was made elsewhere"):
            await new.enrolment.join(token.write(read._replace(seed=b"f" * 32)))
        with pytest.raises(FleetError, match="has another key"):
            await new.enrolment.join(token.write(read._replace(fingerprint="ab" * 32)))
        with pytest.raises(FleetError, match=r"127\.0\.0\.1:9\): connection refused$"):
            await new.enrolment.join(token.write(read._replace(addresses=("127.0.0.1:9",))))
        hq.now += GOOD_FOR + 60
        with pytest.raises(FleetError, match="refused: this token expired 1 min ago"):
            await new.enrolment.join(text)
        hq.now -= GOOD_FOR
        await new.enrolment.join(text)
        with pytest.raises(FleetError, match="refused: this token was used before"):
            await other.enrolment.join(text)
        with pytest.raises(FleetError, match="in a fleet of 2 already"):
            await new.enrolment.join(text)
        with pytest.raises(FleetError, match="in a fleet of 2 already"):
            await hq.enrolment.join(text)
    # the third one hung up when it saw another key than its token names
    assert hq.enrolment.counters == {"joins refused: no good invitation": 3}
    assert not other.fleet.members


@pytest.mark.real_time
async def test_a_relay_does_not_take_its_own_token(sites: Any) -> None:
    async with sites() as (hq, _):
        with pytest.raises(FleetError, match="made by this very relay"):
            await hq.enrolment.join(hq.invite())


class Pair:
    """``admit`` on one end of a line in memory."""

    def __init__(self, site: Site, address: str = "10.0.0.1:5") -> None:
        prepare(site.fleet)
        here, there = trio.testing.memory_stream_pair()
        self.theirs = Line(here, address, ONE_TIME.fingerprint)
        self.ours = Line(there, "hq:2425")


async def refusal(site: Site, *messages: Any, address: str = "10.0.0.1:5", raw: bytes = b"") -> str:
    """What one is told who says this."""
    ends = Pair(site, address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.enrolment.admit, ends.theirs)
        for message in messages:
            await ends.ours.say(message)
        if raw:
            await ends.ours.stream.send_all(raw)
        answer = await ends.ours.listen(within=60)
        await ends.ours.close()
    assert isinstance(answer, Bye)
    return answer.reason


async def test_what_is_not_a_join_is_refused_in_words(tmp_path: Path) -> None:
    site = Site(tmp_path / "hq", "hq")
    site.invite()
    assert "began with Ping instead of Hello" in await refusal(site, Ping())
    assert "good for joining only" in await refusal(site, HELLO, Ping(), address="10.0.0.2:5")
    assert "upgrade camrelay on hq" in await refusal(site, HELLO._replace(v=2))
    assert "a frame of 4294967295 bytes" in await refusal(site, raw=b"\xff" * 4, address="10.0.0.3:5")
    assert "said nothing for 10 s" in await refusal(site, HELLO, address="10.0.0.4:5")
    assert site.fleet.members == {}
    assert len(site.fleet.invitations.open(site.now)) == 1
    assert site.enrolment.counters["joins refused: another version"] == 2


@pytest.mark.parametrize("certs", [(), (b"junk",), (ONE_TIME.cert,)])
async def test_the_id_of_a_member_with_another_key_is_refused_in_words(
    tmp_path: Path, certs: tuple[bytes, ...]
) -> None:
    site = Site(tmp_path / "hq", "hq")
    site.invite()
    other = PeerKey.from_seed(b"o" * 32)
    site.fleet.membership.restore(Member(other.id, "lab", (), (other.cert,), 1))
    reason = await refusal(site, HELLO, Join(Member(other.id, "x", (), certs, 1)))
    assert "a member already, with another key" in reason
    assert site.enrolment.counters == {"joins refused: no good invitation": 1}


async def test_who_fails_too_often_has_to_wait_and_others_have_not(tmp_path: Path) -> None:
    site = Site(tmp_path / "hq", "hq")
    site.invite()
    for _ in range(MOST_FAILED):
        assert "instead of Hello" not in await refusal(site, HELLO, Ping())
    assert "too many joins failed: try again in 10 min" in await refusal(site)
    assert "joining only" in await refusal(site, HELLO, Ping(), address="10.0.0.2:5")
    await trio.sleep(FORGIVEN_AFTER)
    assert "joining only" in await refusal(site, HELLO, Ping())
    assert site.enrolment.counters["joins refused: too many failed ones"] == 1


def test_failed_joins_are_limited_in_all() -> None:
    tries = Tries()
    for n in range(MOST_FAILED_IN_ALL):
        assert tries.wait(f"10.0.0.{n}", n) == 0
        tries.failed(f"10.0.0.{n}", n)
    assert tries.wait("10.9.9.9", MOST_FAILED_IN_ALL) == FORGIVEN_AFTER - MOST_FAILED_IN_ALL
    assert tries.wait("10.9.9.9", FORGIVEN_AFTER) == 0


async def answers(tmp_path: Path, *said: Any, raw: bytes = b"", tail: bool = True) -> str:
    """Why a join fails where the inviting relay answers so."""
    new = Site(tmp_path / "new", "new")
    text = token.write(Token(("hq:2425",), "ab" * 32, SEED))

    async def reach(where: str, context: object, accepted: Collection[str], who: str) -> Line:
        assert (where, accepted) == ("hq:2425", {"ab" * 32})
        here, there = trio.testing.memory_stream_pair()
        nursery.start_soon(answer, Line(there, "new:1"))
        return Line(here, "10.0.0.9:2425", "ab" * 32)

    async def answer(line: Line) -> None:
        assert isinstance(await line.listen(), Hello)
        asked = await line.listen()
        assert isinstance(asked, Join)
        assert asked.member == new.fleet.me
        for message in said:
            await line.say(message)
        if raw:
            await line.stream.send_all(raw)
        if tail:
            await line.close()

    new.enrolment = Enrolment(new.fleet, new.log, reach=reach)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        with pytest.raises(FleetError) as caught:
            await new.enrolment.join(text)
        nursery.cancel_scope.cancel()
    assert not new.fleet.members
    return str(caught.value)


@pytest.mark.parametrize(
    ("said", "raw", "tail", "why"),
    [
        ((), b"", True, "does not know this token"),
        ((), b"", False, "said nothing for 10 s"),
        ((Bye("no more room"),), b"", True, "(10.0.0.9:2425) refused: no more room"),
        ((Ping(),), b"", True, "answered Ping instead of Welcome"),
        ((), b"\0\0\0\1\xc1", True, "answered nonsense"),
        ((Welcome(()),), b"", True, "does not name itself"),
        ((Welcome((Member("0" * 64, "x", (), (b"junk",), 1),)),), b"", True, "does not name itself"),
    ],
)  # fmt: skip
async def test_whatever_the_inviting_side_does_the_newcomer_says_it_in_words(
    tmp_path: Path, said: tuple[Any, ...], raw: bytes, tail: bool, why: str
) -> None:
    assert why in await answers(tmp_path, *said, raw=raw, tail=tail)


async def test_every_address_is_tried_and_every_reason_told(tmp_path: Path) -> None:
    new = Site(tmp_path / "new", "new")

    async def reach(where: str, *_: object) -> Line:
        raise LinkError(f"{where}: closed")

    new.enrolment = Enrolment(new.fleet, new.log, reach=reach)  # type: ignore[arg-type]
    with pytest.raises(FleetError, match=r"^a:1: closed; b:2: closed$"):
        await new.enrolment.join(token.write(Token(("a:1", "b:2"), "ab" * 32, SEED)))
    assert dialling.REACH_WITHIN <= 5


@pytest.mark.real_time
async def test_with_damaged_files_there_is_no_new_key(tmp_path: Path) -> None:
    new = Site(tmp_path / "new", "new")
    new.fleet.problem = "peer.pem: damaged"
    with pytest.raises(FleetError, match=r"peer\.pem: damaged"):
        await new.enrolment.join(token.write(Token(("a:1",), "ab" * 32, SEED)))
    assert list((tmp_path / "new").iterdir()) == []
