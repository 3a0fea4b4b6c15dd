"""What people ask about the fleet: requests, the view, the warnings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.config import Config
from camrelay.config.keys import PeersKeys, RelayKeys, ShareKeys
from camrelay.daemon import token
from camrelay.daemon.answering import Answering
from camrelay.daemon.answers import Request
from camrelay.daemon.desk import REVIEW_EVERY, SYNC_WITHIN, Desk, dialled_at, state
from camrelay.daemon.enrol import Enrolment
from camrelay.daemon.fleet import Fleet
from camrelay.daemon.invitations import GOOD_FOR
from camrelay.daemon.neighbour import LinkRow
from camrelay.daemon.peerkey import PeerKey
from camrelay.daemon.wire import Member, Members, Seen
from camrelay.errors import FleetError, UsageError
from camrelay.relay.outputs import Interface
from camrelay.relay.rules import Share
from camrelay.relay.snapshot import PeerRow
from tests.fleets import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THREADS = pytest.mark.real_time  # that make keys

LAB, SHOP = PeerKey.from_seed(b"1" * 32), PeerKey.from_seed(b"2" * 32)


def link(key: PeerKey, state: str = "linked", **more: Any) -> LinkRow:
    usual: dict[str, Any] = {
        "since": 5.0, "address": "10.0.0.2:2425", "dialled": True, "software": "camrelay 1",
        "rtt": 0.01 if state == "linked" else None, "sent": 10, "received": 20, "queued": 0,
        "drops": {}, "problem": "", "refused": False, "retry": None,
    }  # fmt: skip
    return LinkRow(id=key.id, name="", state=state, **usual | more)


def told(key: PeerKey, linked: bool = True, owed: int = 0, synced: float | None = 0.0) -> PeerRow:
    return PeerRow(key.id, "", linked, 5.0, 7, owed, synced, [], [])


async def tell(event: object) -> None:
    """Nobody watches."""


class Stand:
    """A desk with a fleet of three, where links and relay say what they are told to say."""

    def __init__(self, directory: Path) -> None:
        self.fleet = Fleet.open(directory, "hq")
        self.told: list[tuple[str, Any]] = []
        self.links_rows = [
            link(LAB),
            link(SHOP, "waiting", problem="connection refused", drops={"closed": 2}),
        ]
        self.relay_rows = [told(LAB), told(SHOP, linked=False)]
        self.synced: list[Sequence[str]] = []
        self.acted: list[Any] = []
        self.fleet.tell = lambda peer, message: self.told.append((peer, message))
        enrolment = Enrolment(self.fleet, None)  # type: ignore[arg-type]
        self.desk = Desk(self.fleet, enrolment, self, self, lambda outputs, now: self.acted.append(outputs))  # type: ignore[arg-type]
        self.fleet.readdress("hq", ("hq:2425",))

    def found(self) -> None:
        """There is a fleet."""
        prepare(self.fleet)
        for name, key in (("lab", LAB), ("shop", SHOP)):
            self.fleet.membership.restore(Member(key.id, name, (f"{name}:2425",), (key.cert,), 1))

    def rows(self) -> list[LinkRow]:
        return self.links_rows

    def peers(self, now: float) -> list[PeerRow]:
        return self.relay_rows

    def sync_now(self, now: float, peers: Sequence[str]) -> list[str]:
        self.synced.append(peers)
        return ["a digest"]

    async def ask(self, do: str, **fields: Any) -> Any:
        return await self.desk.requests[do][1](Request(v=1, do=do, **fields), tell)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    made = Stand(tmp_path)
    made.found()
    return made


def test_who_may_only_look_may_only_list(stand: Stand) -> None:
    assert {do for do, (changes, _) in stand.desk.requests.items() if not changes} == {"peers"}


@THREADS
async def test_an_invitation_is_a_token_that_names_us(tmp_path: Path) -> None:
    stand = Stand(tmp_path)  # the first one founds the fleet
    made = await stand.ask("invite", name=" shop ")
    read = token.read(made.token)
    assert (read.addresses, read.fingerprint) == (("hq:2425",), stand.fleet.key().fingerprint)
    assert (made.name, made.relay, made.words) == ("shop", "hq", stand.fleet.key().words)
    assert stand.fleet.who(PeerKey.from_seed(read.seed).fingerprint) == ("invitation", "shop")
    (shown,) = stand.desk.view().invitations
    assert (shown.id, shown.name, shown.used_by) == (made.id, "shop", "")
    assert GOOD_FOR - 5 < shown.left <= GOOD_FOR


@THREADS
@pytest.mark.parametrize("name", ["x" * 65, "a\nb"])
async def test_a_name_that_cannot_be_shown_is_a_usage_error(stand: Stand, name: str) -> None:
    with pytest.raises(UsageError, match="at most 64 letters"):
        await stand.ask("invite", name=name)


async def test_the_view_puts_membership_links_and_users_together(stand: Stand) -> None:
    view = await stand.ask("peers")
    assert (view.name, view.addresses, view.words) == ("hq", ["hq:2425"], stand.fleet.key().words)
    lab, shop = view.peers
    assert (lab.name, lab.state, lab.why, lab.rtt, lab.users, lab.sent) == ("lab", "linked", "", 0.01, 7, 10)
    assert (shop.state, shop.why, shop.drops) == ("away", "connection refused", {"closed": 2})
    assert lab.words == LAB.words


async def test_a_relay_without_key_or_fleet_has_an_empty_view(tmp_path: Path) -> None:
    view = Stand(tmp_path).desk.view()
    assert (view.id, view.words, view.peers, view.invitations, view.removed) == ("", "", [], [], None)


def test_states_are_those_that_a_person_acts_on() -> None:
    assert state(None) == "connecting"
    assert state(link(LAB, "dialling")) == "connecting"
    assert state(link(LAB, "waiting", problem="no route")) == "unreachable"
    assert state(link(LAB, "waiting", problem="no route", drops={"silent": 1})) == "away"
    assert state(link(LAB, "dialling", problem="unknown key", drops={"said": 1}, refused=True)) == "refused"


async def test_a_removal_is_told_to_the_others(stand: Stand) -> None:
    made = await stand.ask("remove", peer="SHOP")
    assert (made.name, made.id, made.ourselves, made.told) == ("shop", SHOP.id, False, 1)
    assert stand.told == [(LAB.id, Members((Member(SHOP.id, "shop", (), (), 1, True),)))]
    made = await stand.ask("remove", peer="hq")
    assert (made.ourselves, made.told, stand.fleet.me.id) == (True, 1, "")


async def test_nobody_unknown_is_removed(stand: Stand) -> None:
    for peer in ("nobody", ""):
        with pytest.raises(UsageError, match="no relay of the fleet"):
            await stand.ask("remove", peer=peer)


@THREADS
async def test_a_rotation_says_whom_it_waits_for(stand: Stand) -> None:
    async def acknowledge() -> None:
        await trio.sleep(0.1)
        stand.fleet.hear(LAB.id, Seen(stand.fleet.me.id, stand.fleet.me.revision))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acknowledge)
        made = await stand.ask("rotate")
    assert made.awaited == ["shop"]
    assert stand.desk.view().awaited == ["shop"]
    with pytest.raises(FleetError, match="being changed already; still to take it: shop"):
        await stand.ask("rotate")
    stand.fleet.hear(SHOP.id, Seen(stand.fleet.me.id, stand.fleet.me.revision))
    assert stand.fleet.key().words == made.words


@THREADS
async def test_one_that_is_removed_while_its_new_key_is_made_does_not_take_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated, me = PeerKey.rotated, stand.fleet.me

    def meanwhile(key: PeerKey) -> PeerKey:
        gone = Members((me._replace(removed=True),))
        trio.from_thread.run_sync(stand.fleet.hear, LAB.id, gone)
        return rotated(key)

    monkeypatch.setattr(PeerKey, "rotated", meanwhile)
    with pytest.raises(FleetError, match="was removed from its fleet meanwhile"):
        await stand.ask("rotate")
    assert (stand.fleet.me.id, stand.fleet.me.certs, stand.fleet.removed_by) == ("", (), "lab")
    assert not (stand.fleet.directory / "peer.pem").exists()


async def test_a_sync_waits_for_what_differs_and_says_how_it_ended(stand: Stand) -> None:
    async def repair() -> None:
        await trio.sleep(0.5)
        stand.relay_rows[0] = told(LAB)

    stand.relay_rows[0] = told(LAB, owed=3, synced=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair)
        rows = await stand.ask("sync")
    assert [(row.name, row.state) for row in rows] == [("lab", "equal"), ("shop", "away")]
    assert stand.synced == [[LAB.id, SHOP.id]]
    assert stand.acted == [["a digest"]]


async def test_a_sync_with_one_whose_word_does_not_come_says_what_is_known(stand: Stand) -> None:
    stand.relay_rows[0] = told(LAB, synced=100.0)
    (row,) = await stand.ask("sync", peers=("lab",))
    assert (row.name, row.state, row.users) == ("lab", "told", 7)
    assert SYNC_WITHIN > 2


async def test_a_sync_with_nobody_is_an_error(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in step with itself"):
        await stand.ask("sync", peers=("hq",))
    with pytest.raises(UsageError, match="no relay of the fleet"):
        await stand.ask("sync", peers=("lab", "x"))
    (tmp_path / "alone").mkdir()
    with pytest.raises(FleetError, match="in no fleet"):
        await Stand(tmp_path / "alone").ask("sync")


async def test_a_mistyped_token_reaches_nobody(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="begins with camrelay1-"):
        await Stand(tmp_path).ask("join", token="hello")


async def test_warnings_name_each_relay_that_is_not_linked_and_why(stand: Stand) -> None:
    assert stand.desk.warnings() == [], "a restart takes less than a minute"
    stand.links_rows = [
        link(LAB, "waiting", problem="does not know our key", refused=True),
        link(SHOP, "waiting", problem="connection refused", drops={"closed": 2}, since=61.0),
    ]
    assert stand.desk.warnings() == [
        "relay lab: refused: does not know our key",
        "relay shop: away: connection refused",
    ]


async def test_a_key_that_others_can_read_is_warned_of(stand: Stand) -> None:
    stand.links_rows = [link(LAB), link(SHOP)]
    stand.fleet.key().note = "peer.pem: others may read it"
    assert stand.desk.warnings() == ["peer.pem: others may read it"]


async def test_warnings_say_what_is_wrong_with_the_fleet_itself(stand: Stand) -> None:
    stand.fleet.reset(by="lab")
    assert "removed from its fleet (said by lab)" in stand.desk.warnings()[0]
    stand.fleet.problem, stand.fleet.trouble, stand.fleet.removed_by = "x: damaged", "disk full", ""
    assert stand.desk.warnings() == ["no fleet: x: damaged", "the fleet is not saved: disk full"]


async def test_a_rule_that_means_no_relay_of_the_fleet_is_warned_of(stand: Stand) -> None:
    good = Share(("peer:LAB", f"peer:{SHOP.id[:8]}", "group:nobody", "10.0.0.*"), ("peer:hq", "peer:*"))
    assert stand.desk.unmatched([good]) == []
    bad = Share(("peer:lap",), ("peer:lap", "peer:00000000", "*"))
    assert [text.split()[0] for text in stand.desk.unmatched([good, bad])] == [
        '"peer:lap"',
        '"peer:00000000"',
    ]
    config = Config(share=(ShareKeys(bad.who, bad.to), ShareKeys(("*",), ("here",))))
    lan = SimpleNamespace(warnings=[])
    answering = Answering(
        config, lan=lan, store=None, relay=None, router=None, source="", warnings=(), stalls=None,
        reload=print, wake=print,
    )  # type: ignore[arg-type]  # fmt: skip
    assert answering.warnings() == []
    peers = SimpleNamespace(desk=stand.desk, warnings=stand.desk.warnings)
    answering.peers = peers  # type: ignore[assignment]
    assert [text.split()[0] for text in answering.warnings()] == ['"peer:lap"', '"peer:00000000"']
    stand.fleet.reset(by="lab")
    assert stand.desk.unmatched([bad]) == []


@THREADS
async def test_what_is_due_is_done_without_anybody_asking(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    made = await stand.ask("invite")
    stand.fleet.wall = lambda: 1e12
    assert stand.desk.view().invitations[0].id == made.id
    clock = trio.testing.MockClock(autojump_threshold=0)

    def run() -> None:
        async def watch() -> None:
            with trio.move_on_after(REVIEW_EVERY + 1):
                await stand.desk.run()

        trio.run(watch, clock=clock)

    await trio.to_thread.run_sync(run)
    assert stand.desk.view().invitations == []


# Where we are to be dialled


def interface(address: str) -> Interface:
    return Interface(1, "eth0", address, "10.0.0.0/24", "10.0.0.255")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (PeersKeys(), ("10.0.0.1:2425", "10.1.0.1:2425")),
        (PeersKeys(port=443), ("10.0.0.1:443", "10.1.0.1:443")),
        (PeersKeys(port=443, address="hq.example.com"), ("hq.example.com:443",)),
        (PeersKeys(port=443, address="hq.example.com:80"), ("hq.example.com:80",)),
    ],
)
async def test_others_are_told_to_dial_what_is_configured_or_our_interfaces(
    tmp_path: Path, keys: PeersKeys, expected: tuple[str, ...]
) -> None:
    config = Config(peers=keys, relay=RelayKeys(name="hq-2f"))
    interfaces = [interface("10.0.0.1"), interface("10.1.0.1"), interface("10.0.0.1")]
    assert dialled_at(config, interfaces) == expected
    stand = Stand(tmp_path)
    stand.desk.readdress(config, interfaces, "host")
    assert (stand.fleet.me.name, stand.fleet.me.addresses) == ("hq-2f", expected)
    assert len(dialled_at(Config(), [interface(f"10.0.0.{n}") for n in range(40)])) == token.MOST_ADDRESSES


@pytest.mark.parametrize("hostname", ["", "x" * 65, "a\tb"])
async def test_a_host_name_that_others_would_not_take_is_not_said(tmp_path: Path, hostname: str) -> None:
    stand = Stand(tmp_path)
    stand.desk.readdress(Config(), [interface("10.0.0.1")], hostname)
    assert stand.fleet.me.name == "relay 10.0.0.1"
    stand.desk.readdress(Config(), [], hostname)
    assert stand.fleet.me.name == "relay"
