"""The relay as member master: who polls, who is made an agent, what reports are worth, what goes through agents."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from camrelay.ipmsg import master
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.ipdict import decode, encode
from camrelay.ipmsg.master import Network, Note, Report
from camrelay.ipmsg.packet import build, is_ipdict, parse
from camrelay.ipmsg.sealed import is_sealed
from camrelay.ipmsg.signed import Author, Host, hosts, read, signer
from camrelay.ipmsg.signed import parse as parse_signed
from camrelay.relay.agents import Net, Times, net_of
from camrelay.relay.outputs import Connect, Datagram, Interface, Output, Transmit
from camrelay.relay.relay import Relay
from camrelay.relay.rules import Settings
from tests.keys import PEER, POLL, RELAY
from tests.pcap import DATA, capture

if TYPE_CHECKING:
    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.relay.snapshot import MasterRow

WINDOWS = int(Option.FILEATTACH | Option.ENCRYPT | Option.CAPUTF8 | Option.CAPIPDICT)
VERSION = "00010002:4:99:103"
NET = [Network("10.2.0.0", 24)]
IPTUX = b"1_iptux 0.8.3"


@dataclass
class Client:
    """Answers BR_ENTRY, and signs what it is told to."""

    lab: Lab
    address: str
    logon: str
    version: bytes = b"1"
    status: int = WINDOWS
    nick: str = ""
    group: str = "Sales"
    number: int = 1_700_000_000
    up: bool = True  # answers by UDP
    answer: bytes = b""  # always this one
    takes: bool = True  # ends a connection cleanly

    def presence(self, mode: int = Command.ANSENTRY) -> bytes:
        if self.answer:
            return self.answer
        self.number += 1
        extra = self.group.encode() + b"\0"
        extra += b"icon\0utf-8\0" if self.version == IPTUX else b"\nVS:" + VERSION.encode()
        names = self.logon.encode(), self.host.encode()
        return build(self.version, self.number, *names, mode | self.status, self.nick.encode(), extra)

    @property
    def host(self) -> str:
        return "PC-" + self.address.rpartition(".")[2]

    def sign(self, command: int, extra: bytes = b"", key: object = PEER) -> bytes:
        self.number += 1
        names = self.logon, self.host, self.nick, self.group
        author = Author(key, *names, VERSION, self.status)  # type: ignore[arg-type]
        return author.sign(command, self.number, self.number, extra)

    def says(self, command: int, extra: bytes = b"", **more: object) -> None:
        self.lab.hear(self.sign(command, extra), self.address, **more)

    def polls(self, networks: list[Network] = NET) -> None:
        self.says(Command.DIR_POLL, master.poll(networks))

    def reports(self, *told: Client, present: bool = True, entry: bool = False, event: bool = False) -> None:
        listed = [one.listed(present) for one in told]
        command = Command.DIR_EVBROAD if event or entry else Command.DIR_ANSBROAD
        self.says(command, master.report(Report(listed, entry)))

    def listed(self, present: bool = True) -> Host:
        more = (self.address, 2425, self.nick or self.logon, self.group, VERSION)
        return Host(self.logon, self.host, self.status, present, *more)


@dataclass
class Lab:
    """A relay in 10.1.0.0/24 that sweeps 10.2.0.*, and clients beyond."""

    enabled: bool = True
    remote: tuple[str, ...] = ("10.2.0.*",)
    can_speak: bool = False
    key: PrivateKey | None = RELAY
    now: float = 1000.0
    clients: dict[str, Client] = field(default_factory=dict)
    sent: list[tuple[float, Transmit]] = field(default_factory=list)
    calls: list[tuple[float, Connect]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.relay = Relay(
            Settings(remote=self.remote, master=self.enabled, sweep_unknown_every=86400.0),
            [Interface(2, "eth0", "10.1.0.5", "10.1.0.0/24", "10.1.0.255")],
            hostname="box",
            number=1_700_000_000,
            random=random.Random(1),
            can_speak=self.can_speak,
            now=self.now,
            key=self.key,
        )
        self.act(self.relay.start(self.now))

    def client(self, address: str, logon: str = "", known: bool = True, **more: object) -> Client:
        made = Client(self, address, logon or "u" + address.rpartition(".")[2], **more)  # type: ignore[arg-type]
        self.clients[address] = made
        if known:
            self.run(0.01)
            self.relay._questions.entry(address, self.now)
            self.act(self.relay._context.take())
        return made

    def hear(self, data: bytes, source: str, index: int = 2, port: int = 2425) -> None:
        self.act(self.relay.receive(Datagram(data, source, port, index, False, 64), self.now))

    def act(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Transmit):
                self.sent.append((self.now, output))
                client = self.clients.get(output.to)
                asked = not is_ipdict(output.data) and parse(output.data).mode == Command.BR_ENTRY
                if client and client.up and asked:
                    self.hear(client.presence(), client.address)
            elif isinstance(output, Connect):
                self.calls.append((self.now, output))
                client = self.clients[output.address]
                self.relay.connected(output.address, client.takes, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := max(self.relay.next_due(), self.now + 0.001)) <= end:
            self.now = due
            self.act(self.relay.tick(self.now))
        self.now = end

    def users(self) -> dict[str, str]:
        return {row.address: row.nick for row in self.relay.users(self.now) if row.state == "online"}

    def count(self, cause: str) -> int:
        return self.relay.counters.get(cause, 0)

    def asked(self, address: str, since: float = 0.0) -> int:
        """How many BR_ENTRY went to ``address``."""
        modes = [
            parse(t.data).mode
            for at, t in self.sent
            if t.to == address and at >= since and not is_ipdict(t.data)
        ]
        return modes.count(Command.BR_ENTRY)

    def duties(self, since: float = 0.0) -> list[tuple[str, int]]:
        return [(call.address, parse_signed(call.data).mode) for at, call in self.calls if at >= since]

    @property
    def rows(self) -> list[MasterRow]:
        return self.relay.snapshot(self.now).master

    def agents(self) -> list[str]:
        return [agent.address for row in self.rows for agent in row.agents]


def appointed(**more: object) -> tuple[Lab, Client]:
    """A lab with one agent that has reported."""
    lab = Lab(**more)  # type: ignore[arg-type]
    lab.run(5)
    agent = lab.client("10.2.0.21")
    agent.polls()
    lab.run(2.1)
    assert lab.agents() == [agent.address]
    lab.run(4.5)
    agent.reports(agent)
    return lab, agent


# Networks


@pytest.mark.parametrize(
    ("source", "networks", "net"),
    [
        ("10.2.0.21", [("10.2.0.0", 24)], "10.2.0.0/24"),
        ("10.2.0.21", [("192.168.5.0", 24), ("10.2.0.0", 24)], "10.2.0.0/24"),
        ("10.2.0.21", [("10.0.0.0", 8), ("10.2.0.0", 16)], "10.2.0.0/16"),
        ("10.2.3.21", [("10.2.3.0", 23)], "10.2.2.0/23"),  # as the reference writes it
        ("10.2.3.21", [("0.2.3.21", 20)], "10.2.0.0/20"),
        ("10.2.3.21", [("10.2.3.0", 32)], "10.2.3.21/32"),
        ("10.2.0.21", [("10.2.1.0", 24)], None),
        ("10.2.0.21", [], None),
    ],
)
def test_networks_are_computed_by_us(source: str, networks: list[tuple[str, int]], net: str | None) -> None:
    found = net_of(source, [Network(*one) for one in networks])
    assert (str(found) if found else None) == net
    assert found is None or found.holds(source)


def test_a_network_holds_its_addresses_and_no_others() -> None:
    net = net_of("10.2.3.21", [Network("10.2.2.0", 23)])
    assert net == Net(0x0A020200, 0x0A0203FF, 23)
    assert [net.holds(a) for a in ("10.2.1.255", "10.2.2.0", "10.2.3.255", "10.2.4.0")] == [
        False,
        True,
        True,
        False,
    ]


# Polls


def test_a_poll_registers_nobody_but_draws_one_question_whose_answer_does() -> None:
    lab = Lab(remote=())
    lab.relay.reconfigure(Settings(accept_from=("10.2.0.0/24",), master=True), lab.now)
    lab.run(1)
    bob = lab.client("10.2.0.7", "bob-<3e9baf9cab544e94>", known=False)
    bob.up = False
    bob.polls()
    lab.run(20)
    assert lab.users() == {}
    assert lab.asked(bob.address) == 1
    assert lab.agents() == []
    bob.up = True
    bob.polls()
    lab.run(0.1)
    assert lab.users() == {bob.address: bob.logon}
    lab.run(2)
    assert lab.agents() == [bob.address]  # from the poll that it sent before it was known


def test_polls_of_a_known_user_ask_nothing() -> None:
    lab, agent = appointed()
    before = lab.asked(agent.address)
    for _ in range(5):
        lab.run(60)
        agent.polls()
    assert lab.asked(agent.address) == before
    assert lab.count("polls heard") == 6


def test_a_poll_that_nobody_signed_or_somebody_else_did_is_dropped() -> None:
    lab = Lab()
    lab.run(5)
    bob = lab.client("10.2.0.7", "bob-<3e9baf9cab544e94>")
    before = len(lab.sent)
    good = decode(bob.sign(Command.DIR_POLL, master.poll(NET)))
    del good[b"SIGN"]
    lab.hear(encode(good), bob.address)
    lab.hear(bob.sign(Command.DIR_POLL, master.poll(NET), key=RELAY), bob.address)
    assert lab.count("dropped: not signed by whom it names") == 2
    assert (lab.rows, len(lab.sent)) == ([], before)


def test_the_key_first_seen_is_the_key() -> None:
    lab, agent = appointed()  # its name has no fingerprint
    lab.hear(agent.sign(Command.DIR_POLL, master.poll([]), key=RELAY), agent.address)
    assert lab.count("dropped: not signed by whom it names") == 1
    assert lab.agents() == [agent.address]


def test_a_packet_heard_twice_counts_once() -> None:
    lab = Lab()
    lab.run(5)
    data = lab.client("10.2.0.7").sign(Command.DIR_POLL, master.poll(NET))
    for _ in range(2):
        lab.hear(data, "10.2.0.7")
    assert lab.count("polls heard") == 1
    assert lab.count("dropped: signed packet that came before") == 1


def test_a_poll_with_a_strange_network_is_dropped() -> None:
    lab = Lab()
    bob = lab.client("10.2.0.7")
    bob.says(Command.DIR_POLL, b"NADRS:1:x")
    assert lab.count("dropped: malformed dictionary") == 1


def test_a_flood_of_signed_packets_is_cut_off_and_costs_members_nothing() -> None:
    lab, agent = appointed()
    for n in range(600):
        lab.hear(POLL, f"10.2.0.{n % 200 + 30}")
    assert lab.count("dropped: too many signed packets at once") == 100
    before = lab.count("polls heard")
    agent.polls()
    assert lab.count("polls heard") == before + 1


def test_without_the_switch_polls_are_hints_and_nobody_is_an_agent() -> None:
    lab = Lab(enabled=False)
    lab.run(5)
    lab.client("10.2.0.7", known=False).polls()
    lab.run(10)
    assert lab.users() == {"10.2.0.7": "u7"}
    (row,) = lab.rows
    assert (row.network, row.polling, row.agents, row.why) == ("10.2.0.0/24", 1, [], "not enabled")
    assert lab.calls == []


def test_a_poller_who_falls_silent_is_asked_whether_it_is_there() -> None:
    lab, agent = appointed()
    lab.run(10)
    agent.up = agent.takes = False
    agent.polls()
    lab.run(Times.SILENT + 20)
    assert lab.users() == {}  # long before the ten minutes of the sweep
    assert lab.rows == []


# Agents


def test_the_first_agent_asks_its_segment_the_others_report() -> None:
    lab = Lab()
    lab.run(5)
    clients = [lab.client(f"10.2.0.{n}") for n in (21, 22, 23, 24)]
    for client in clients:
        lab.run(0.01)
        client.polls()
    begun = lab.now
    lab.run(2.1)
    asks, reports = int(Command.DIR_BROADCAST), int(Command.DIR_POLLAGENT)
    assert lab.duties(begun) == [("10.2.0.24", asks), ("10.2.0.23", reports), ("10.2.0.22", reports)]
    call = lab.calls[0][1]
    said = parse_signed(call.data)
    assert call.port == 2425
    assert master.read_duty(said.fields) == (190, "10.2.0.24")
    assert signer(said) == RELAY.public
    assert said.status & Option.DIR_MASTER
    (row,) = lab.rows
    assert [(a.address, a.nick, a.asks, a.score) for a in row.agents] == [
        ("10.2.0.24", "u24", True, 1), ("10.2.0.23", "u23", False, 1), ("10.2.0.22", "u22", False, 1),
    ]  # fmt: skip
    assert (row.polling, row.answered, row.why) == (4, None, "")


def test_a_round_every_three_minutes_and_again_after_eight_seconds_where_nothing_came() -> None:
    lab, agent = appointed()
    begun = lab.now
    for n in range(120):
        if not n % 12:
            agent.polls()
        lab.run(5)
        if lab.calls[-1][0] > lab.now - 5:
            agent.reports(agent)
    times = [at - begun for at, _ in lab.calls if at > begun]
    assert [round(time, -1) for time in times] == [180, 360, 540]
    silent = lab.client("10.2.0.22")
    begun = lab.now
    agent.up = agent.takes = False
    lab.run(200)
    silent.polls()
    lab.run(30)
    again = [at for at, call in lab.calls if call.address == silent.address]
    assert len(again) >= 2
    assert 8 < again[1] - again[0] < 11


def test_who_takes_the_duty_twice_and_reports_nothing_gives_way() -> None:
    lab = Lab()
    lab.run(5)
    one, other = lab.client("10.2.0.21"), lab.client("10.2.0.22")
    one.polls()
    lab.run(3)
    other.polls()
    lab.run(30)
    assert lab.agents() == [other.address]
    assert lab.count("agents lost") >= 1


def test_who_cannot_be_reached_is_no_agent_until_its_next_poll() -> None:
    lab = Lab()
    lab.run(5)
    one = lab.client("10.2.0.21", takes=False)
    one.polls()
    lab.run(20)
    assert len(lab.calls) == 1
    assert lab.agents() == []
    one.takes = True
    one.polls()
    lab.run(2.1)
    assert lab.agents() == [one.address]


@pytest.mark.parametrize("prefix", [17, 20, 22, 23, 25, 30])
def test_nets_that_the_client_computes_wrongly_get_no_agents(prefix: int) -> None:
    lab = Lab()
    lab.run(5)
    lab.client("10.2.0.21").polls([Network("10.2.0.0", prefix)])
    lab.run(10)
    (row,) = lab.rows
    assert (row.agents, row.polling, row.why) == ([], 1, f"clients compute /{prefix} wrongly")
    assert lab.calls == []


def test_our_own_segment_gets_no_agents() -> None:
    lab = Lab()
    lab.client("10.1.0.9", known=True).polls([Network("10.1.0.0", 24)])
    lab.run(10)
    lab.client("10.2.0.21").polls([Network("10.0.0.0", 8)])
    lab.run(10)
    assert [row.why for row in lab.rows] == ["our own segment", "our own segment"]
    assert lab.calls == []


def test_a_segment_with_a_relay_gets_no_agents() -> None:
    lab, agent = appointed()
    lab.client("10.2.0.2", "camrelay", version=b"1_camrelay 0.1.0", status=int(Option.CAPUTF8))
    lab.run(2.1)
    assert lab.agents() == []
    assert lab.rows[0].why == "a relay is there"
    assert agent.address in lab.users()


def test_who_rejects_is_no_agent() -> None:
    lab, agent = appointed()
    agent.says(Command.DIR_AGENTREJECT)
    lab.run(10)
    assert lab.agents() == []


def test_nobody_rejects_for_others() -> None:
    lab, agent = appointed()
    lab.hear(agent.sign(Command.DIR_AGENTREJECT), "10.2.0.99")
    stranger = lab.client("10.2.0.99", "stranger")
    stranger.says(Command.DIR_AGENTREJECT)
    assert lab.agents() == [agent.address]
    assert lab.count("dropped: report of nobody who is our agent") == 2


# Reports


def test_who_is_reported_is_asked_and_the_answer_takes_it_in() -> None:
    lab, agent = appointed()
    carol = lab.client("10.2.0.30", "carol", known=False, up=False)
    agent.reports(agent, carol)
    lab.run(5)
    assert carol.address not in lab.users()
    assert lab.asked(carol.address, lab.now - 5) == 1
    carol.up = True
    agent.reports(carol, event=True)
    lab.run(1)
    assert lab.users()[carol.address] == "carol"
    assert lab.rows[0].reported == 2


def test_a_reported_exit_is_checked_at_once() -> None:
    lab, agent = appointed()
    carol, dave = lab.client("10.2.0.30", "carol"), lab.client("10.2.0.31", "dave")
    carol.up = False
    agent.reports(carol, dave, present=False, event=True)
    lab.run(8)
    assert set(lab.users()) == {agent.address, dave.address}  # dave still answers


def test_a_reported_rename_is_asked_for() -> None:
    lab, agent = appointed()
    carol = lab.client("10.2.0.30", "carol")
    carol.nick = "Carola"
    agent.reports(carol, event=True)
    lab.run(1)
    assert lab.users()[carol.address] == "Carola"
    before = lab.asked(carol.address)
    agent.reports(carol)
    lab.run(1)
    assert lab.asked(carol.address) == before  # nothing new


def test_who_has_just_started_gets_the_whole_list() -> None:
    lab, agent = appointed()
    home = lab.client("10.1.0.9", known=True)
    carol = lab.client("10.2.0.30", "carol")
    lab.run(30)
    before = len(lab.sent)
    agent.reports(carol, entry=True)
    lab.run(8)
    to_carol = [t.data for _, t in lab.sent[before:] if t.to == carol.address and is_ipdict(t.data)]
    lists = [parse_signed(data) for data in to_carol]
    assert [one.mode for one in lists] == [Command.ANSLIST_DICT]
    assert [h.address for one in lists for h in hosts(one.fields)] == [home.address]


def test_only_an_agent_reports_and_only_its_own_segment() -> None:
    lab, agent = appointed()
    carol = lab.client("10.2.0.30", "carol", known=False)
    other = lab.client("10.2.0.22")
    before = len(lab.sent)
    other.reports(carol)
    lab.hear(agent.sign(Command.DIR_ANSBROAD, master.report(Report([carol.listed()], False))), other.address)
    lab.hear(
        agent.sign(Command.DIR_ANSBROAD, master.report(Report([carol.listed()], False))),
        agent.address,
        port=9,
    )
    assert lab.count("dropped: report of nobody who is our agent") == 3
    agent.reports(lab.client("10.1.0.9", known=False))
    assert lab.count("ignored: reported from another segment") == 1
    lab.run(5)
    assert len(lab.sent) == before


# What we say of ourselves


def test_a_master_says_so_and_asks_to_be_polled_when_it_starts() -> None:
    lab = Lab()
    entries = [parse(t.data) for _, t in lab.sent if t.to == "10.1.0.255"]
    lab.run(3)
    entries += [parse(t.data) for _, t in lab.sent if t.to.startswith("10.2.")][:1]
    assert len(entries) == 2
    for entry in entries:
        assert entry.options & (Option.DIR_MASTER | Option.DIALUP) == Option.DIR_MASTER | Option.DIALUP
        assert master.read_note(entry) == Note(started=True)
    lab.run(60)
    lab.client("10.2.0.9")
    assert master.read_note(parse(lab.sent[-1][1].data)) == Note()


def test_a_key_that_comes_late_makes_a_master_and_everybody_hears_of_it() -> None:
    lab = Lab(key=None)
    lab.run(20)
    assert not any(parse(t.data).options & Option.DIR_MASTER for _, t in lab.sent)
    lab.sent.clear()
    lab.act(lab.relay.adopt(RELAY, lab.now))
    lab.run(3)
    entries = {t.to: parse(t.data) for _, t in lab.sent}
    assert {"10.1.0.255", "10.2.0.1", "10.2.0.254"} <= set(entries)
    assert all(packet.options & Option.DIR_MASTER for packet in entries.values())
    assert all(master.read_note(packet) == Note(started=True) for packet in entries.values())


def test_without_the_switch_nothing_of_it_shows_and_a_reload_turns_it_on_and_off() -> None:
    lab = Lab(enabled=False)
    first = parse(lab.sent[0][1].data)
    assert not first.options & (Option.DIR_MASTER | Option.DIALUP)
    assert master.read_note(first) == Note()
    for enabled in (True, False):
        lab.run(20)
        lab.sent.clear()
        lab.act(lab.relay.reconfigure(Settings(remote=lab.remote, master=enabled), lab.now))
        lab.run(1)
        lab.client("10.2.0.9")
        said = [parse(t.data) for _, t in lab.sent if not is_ipdict(t.data)]
        assert {bool(packet.options & Option.DIR_MASTER) for packet in said} == {enabled}
        assert any(t.to == "10.1.0.255" for _, t in lab.sent) is enabled


def test_without_a_key_dictionaries_are_dropped() -> None:
    lab = Lab()
    lab.relay._context.identity = None
    lab.client("10.2.0.7").polls()
    assert lab.count("polls heard") == 0
    assert lab.count("dropped: signed or encrypted dictionary") == 1


def test_a_start_told_by_unicast_too_is_one_start() -> None:
    """Whoever names us as master, or saw our DIALUPOPT, says each BR_ENTRY once more to us alone."""
    lab = Lab()
    home = lab.client("10.1.0.9")
    lab.run(20)
    before = lab.asked(home.address)
    for broadcast in (True, False):
        data = home.presence(Command.BR_ENTRY)
        lab.act(lab.relay.receive(Datagram(data, home.address, 2425, 2, broadcast, 64), lab.now))
        lab.run(0.01)
    assert lab.asked(home.address) == before
    lab.run(20)
    lab.hear(home.presence(Command.BR_ENTRY), home.address)  # alone, it may be forged
    assert lab.asked(home.address) == before + 1


# Changes through agents


def requests(lab: Lab, since: int) -> list[Transmit]:
    frames = [t for _, t in lab.sent[since:] if is_ipdict(t.data)]
    return [t for t in frames if parse_signed(t.data).mode == Command.DIR_REQUEST]


def test_changes_go_through_agents_in_three_signatures() -> None:
    lab, agent = appointed()
    lab.client("10.2.0.30", "carol")
    lab.run(10)
    before = len(lab.sent)
    home = lab.client("10.1.0.9", known=True)
    lab.run(3)
    (request,) = requests(lab, before)
    assert request.to == agent.address
    outer = parse_signed(request.data)
    packet = read(master.unwrap(outer.fields))
    inner = read(master.unwrap(packet.fields))
    assert [one.mode for one in (outer, packet, inner)] == [
        Command.DIR_REQUEST, Command.DIR_PACKET, Command.ANSLIST_DICT,
    ]  # fmt: skip
    assert all(signer(one) == RELAY.public for one in (outer, packet, inner))
    assert master.agent(outer.fields) == agent.address
    assert [(h.address, h.present) for h in hosts(inner.fields)] == [(home.address, True)]
    unicast = [t for _, t in lab.sent[before:] if t.to in ("10.2.0.30",) and is_ipdict(t.data)]
    assert unicast == []


def test_no_agent_broadcasts_where_somebody_would_misread_it() -> None:
    lab, agent = appointed()
    lab.client("10.2.0.30", "tux", version=IPTUX, status=0)
    lab.run(10)
    before = len(lab.sent)
    lab.client("10.1.0.9", known=True)
    lab.run(3)
    assert requests(lab, before) == []
    told = [t for _, t in lab.sent[before:] if t.to == agent.address and is_ipdict(t.data)]
    assert [parse_signed(t.data).mode for t in told] == [Command.ANSLIST_DICT]


def test_an_agent_that_stopped_reporting_passes_nothing_on() -> None:
    lab, agent = appointed()
    for _ in range(4):
        lab.run(60)
        agent.polls()
    before = len(lab.sent)
    lab.client("10.1.0.9", known=True)
    lab.run(3)
    assert requests(lab, before) == []


# What the real program sent


@pytest.mark.parametrize(
    ("names", "polls", "reports"),
    [
        (("s2-master-brA", "s2-master-brB", "s2-master-brC"), 38, 12),
        (("s2b-two-agents-brA", "s2b-two-agents-brB"), 20, 6),
    ],
)
def test_recorded_polls_and_reports_are_taken(names: tuple[str, ...], polls: int, reports: int) -> None:
    """A master at 10.99.1.11 was polled and reported to by clients of other segments: the relay takes its place."""
    lab = Lab(remote=("10.99.2.*", "10.99.3.*"), now=0.0)
    recorded = {
        one.data: one
        for name in names
        for one in capture(DATA / f"{name}.pcap").datagrams
        if is_ipdict(one.data) and not is_sealed(decode(one.data))
        if one.target == "10.99.1.11" and parse_signed(one.data).mode >= Command.DIR_POLL
        if not one.source.startswith("10.99.1.")
    }
    for one in recorded.values():
        said = parse_signed(one.data)
        if said.mode == Command.DIR_POLL and one.source not in lab.clients:
            client = lab.client(one.source, known=False)
            words = said.nick.encode(), said.group.encode() + b"\0\nVS:" + VERSION.encode()
            mode = Command.ANSENTRY | said.status & ~int(Option.DIR_MASTER)
            client.answer = build(b"1", 7, said.logon.encode(), said.host.encode(), mode, *words)
            lab.relay._questions.entry(one.source, lab.now)
            lab.act(lab.relay._context.take())
    assert set(lab.users()) == set(lab.clients)
    begun = min(one.time for one in recorded.values())
    for one in sorted(recorded.values(), key=lambda one: one.time):
        lab.run(max(0.0, one.time - begun - lab.now))
        lab.hear(one.data, one.source)
    assert lab.count("polls heard") == polls
    assert lab.count("reports of agents read") == reports
    assert lab.count("dropped: not signed by whom it names") == 0
    assert {row.network for row in lab.rows} <= {"10.99.2.0/24", "10.99.3.0/24"}
    assert lab.agents()
