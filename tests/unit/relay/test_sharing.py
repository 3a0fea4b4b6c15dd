"""Who is shown where: what a rule means, and that nobody is ever shown to those whom the rules hide it from."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from camrelay.ipmsg import hostlist
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.signed import hosts
from camrelay.relay.outputs import Interface, Output, Transmit
from camrelay.relay.rules import Share
from camrelay.relay.segment import Segment
from camrelay.relay.sharing import Place, Rules, fits, fits_peer, place_of, span, unmatched
from camrelay.relay.user import SavedUser
from tests.keys import RELAY
from tests.scripted import Sent
from tests.unit.relay.invariants import ghosts, misplaced, misread, provoked, serves, shown, too_fast, twice
from tests.windows import Windows499
from tests.world import ALL, Client, Feiq, Iptux, ListAsker, Plain, RelayNode, Windows, World, segment_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.relay.user import User

# -- what a rule means -----------------------------------------------------------------------------------------------


def decided(shares: Sequence[Share], to: str, *, here: bool = False) -> bool:
    """Is 10.1.1.5 of group Sales shown in the segment ``to``?"""
    rules = Rules(shares)
    return rules.allows(rules.into(rules.about("10.1.1.5", "Sales", False, ""), Place((span(to),), here)))


def hide(*who: str, to: str = "10.1.2.*", allow: bool = False) -> Share:
    return Share(who, (to,), allow)


def test_without_a_rule_that_fits_everybody_is_shown() -> None:
    assert decided([], "10.1.2.*")
    assert decided([hide("10.1.3.*")], "10.1.2.*")
    assert decided([hide("*", to="10.1.3.*")], "10.1.2.*")


@pytest.mark.parametrize(
    "who",
    [
        "*",
        "10.1.1.*",
        "10.1.1.0/24",
        "10.0.0.0/8",
        "10.1.1.5/32",
        "group:Sales",
        "group:sAles",
        "group:s*S",
        "group:*",
    ],
)
def test_a_pattern_that_fits_the_user_hides_it(who: str) -> None:
    assert not decided([hide(who)], "10.1.2.*")


@pytest.mark.parametrize(
    "who",
    ["10.1.2.*", "10.1.1.6/32", "10.1.1.128/25", "group:Sale", "group:ales", "here", "peer:*", "peer:hq"],
)
def test_a_pattern_that_does_not_fit_leaves_it_shown(who: str) -> None:
    assert decided([hide(who)], "10.1.2.*")


def test_one_of_several_patterns_is_enough() -> None:
    assert not decided([Share(("group:x", "10.1.1.*"), ("10.9.0.0/16", "10.1.2.*"))], "10.1.2.*")


def test_here_are_our_own_segments_on_both_sides() -> None:
    rules = Rules([hide("here")])
    assert rules.about("10.5.5.5", "", True, "") == 1
    assert rules.about("10.5.5.5", "", False, "") == 0
    assert not decided([hide("*", to="here")], "10.1.2.0/24", here=True)
    assert decided([hide("*", to="here")], "10.1.2.0/24", here=False)


def test_peers_who_told_us_are_known_by_name_without_regard_to_case() -> None:
    rules = Rules([hide("peer:HQ-*")])
    assert rules.about("10.1.1.5", "", False, "hq-2f") == 1
    assert rules.about("10.1.1.5", "", False, "branch") == 0
    assert rules.about("10.1.1.5", "", False, "") == 0


ID = "0123abcd" * 8


@pytest.mark.parametrize(
    ("pattern", "name", "fit"),
    [
        ("hq", "HQ~0123", True),
        ("hq", "hq~0123abcd", True),
        ("hq~0123", "hq~0123", True),
        ("hq~9999", "hq~0123", False),
        ("h*", "hq~0123", True),
        ("my~relay", "my~relay", True),
        ("my", "my~relay", False),
        ("0123abcd", "whoever", True),
        ("0123ABCD01", "whoever", True),
        (ID, "whoever", True),
        ("0123abc", "whoever", False),
        ("0123abce", "whoever", False),
        ("99999999", "99999999", False),
    ],
)
def test_a_peer_is_meant_by_its_bare_name_or_its_id(pattern: str, name: str, fit: bool) -> None:
    assert fits_peer(pattern, name, ID) is fit
    rules = Rules([hide(f"peer:{pattern}"), hide("*", to=f"peer:{pattern}")])
    assert rules.about("10.1.1.5", "", False, name, ID) == (0b11 if fit else 0b10)
    assert rules.to_peer(0b10, name, ID) == (1 if fit else None)


def test_patterns_that_mean_no_relay_are_found() -> None:
    shares = [
        Share(("peer:hq", "peer:x"), ("peer:x", "*")),
        Share(("group:y",), ("peer:0123abcd", "peer:z*")),
    ]
    assert unmatched(shares, [("HQ~0123", ID)]) == ["peer:x", "peer:z*"]


def test_the_first_rule_that_fits_both_sides_decides() -> None:
    first = hide("group:Sales", allow=True)
    assert decided([first, hide("*", to="*")], "10.1.2.*")
    assert not decided([first, hide("*", to="*")], "10.1.3.*")
    assert not decided([hide("*", to="*"), first], "10.1.2.*")
    assert decided([hide("group:x"), first, hide("*", to="*")], "10.1.2.*")


def test_a_segment_hears_as_one() -> None:
    """Hidden from a part is hidden from all; shown to a part is not shown."""
    part = hide("*", to="10.1.2.128/25")
    assert not decided([part], "10.1.2.0/24")
    assert not decided([part], "10.1.0.0/16")
    assert decided([part], "10.1.2.0/25")
    allowed = [part._replace(allow=True), hide("*", to="*")]
    assert not decided(allowed, "10.1.2.0/24")
    assert decided(allowed, "10.1.2.192/26")


def test_further_networks_of_a_wire_belong_to_its_segment() -> None:
    card = Interface(2, "eth0", "10.1.2.1", "10.1.2.0/24", "10.1.2.255", ("10.9.0.0/24",))
    place = place_of(Segment("10.1.2.0/24", card))
    rules = Rules([hide("*", to="10.9.0.*"), hide("*", to="10.1.2.*", allow=True), hide("*", to="*")])
    assert place.here
    assert rules.into(rules.about("10.3.3.3", "", False, ""), place) == 0
    only = Rules([hide("*", to="10.1.2.*", allow=True), hide("*", to="*")])
    assert only.into(only.about("10.3.3.3", "", False, ""), place) == 1


def test_a_peer_is_told_by_its_name_or_with_everybody() -> None:
    rules = Rules(
        [
            Share(("group:a",), ("peer:B*",)),
            Share(("group:b",), ("10.1.2.*", "here")),
            Share(("group:c",), ("*",)),
        ]
    )
    told = {group: rules.to_peer(rules.about("10.1.1.5", group, True, ""), "branch") for group in "abcd"}
    assert told == {"a": 0, "b": None, "c": 2, "d": None}
    assert rules.to_peer(rules.about("10.1.1.5", "a", True, ""), "hq") is None
    assert rules.about_peer("branch")
    assert rules.about_peer("hq"), "by the last rule"
    assert not Rules([hide("*", to="peer:x")]).about_peer("hq")


def test_rules_behind_one_about_all_segments_and_peers_make_no_difference() -> None:
    rules = Rules([hide("group:a"), hide("here", to="*"), hide("10.1.1.*")])
    assert rules.about("10.1.1.5", "a", True, "") == rules.about("10.7.7.7", "a", True, "") == 0b011
    assert rules.about("10.1.1.5", "b", False, "") == 0b100


@given(st.text("ab*", max_size=6), st.text("abAB", max_size=6))
def test_a_star_stands_for_anything(pattern: str, text: str) -> None:
    assert fits(pattern, text) == fnmatchcase(text.casefold(), pattern)


def test_many_stars_cost_nothing() -> None:
    assert not fits("*a" * 50 + "b", "a" * 5_000)


# -- in a world ------------------------------------------------------------------------------------------------------


def hidden(shares: Sequence[Share], user: User, segment: str) -> bool:
    """What the rules say of a user in the world (every segment a /24), worked out in the slow way."""
    if segment_of(user.address) == segment:
        return False
    group = user.presence.group_text.casefold()

    def inside(pattern: str, network: str) -> bool:
        within = ip_network(pattern.replace("*", "0/24"))
        return ip_network(network).subnet_of(within)

    def about(pattern: str) -> bool:
        if pattern.startswith("group:"):
            return fnmatchcase(group, pattern[6:].casefold())
        return pattern == "*" or (pattern[0].isdigit() and inside(pattern, f"{user.address}/32"))

    def to(pattern: str) -> bool:
        return pattern == "*" or (pattern[0].isdigit() and inside(pattern, f"{segment}.0/24"))

    rule = next((one for one in shares if any(map(about, one.who)) and any(map(to, one.to))), None)
    return rule is not None and not rule.allow


def presents(sent: Sent) -> list[str]:
    """The addresses at which this datagram says that somebody is."""
    if sent.mode in (Command.BR_ABSENCE, Command.ANSENTRY, Command.BR_ENTRY):
        return [sent.source] if sent.announces else []
    if sent.mode == Command.ANSLIST:
        return [entry.address for entry in hostlist.unpack(sent.packet.body)[1]]
    if sent.mode == Command.ANSLIST_DICT:
        return [host.address for host in hosts(sent.dictionary.fields) if host.present]
    return []


class Node(RelayNode):
    """Looks at each datagram of its relay before it goes: is somebody shown who is to be hidden?"""

    leaks: list[str]

    def act(self, outputs: list[Output]) -> None:
        self.leaks = getattr(self, "leaks", [])
        own = self.interfaces[0].address
        for output in outputs:
            if isinstance(output, Transmit):
                on = next((i.address for i in self.interfaces if i.index == output.interface), own)
                sent = Sent(self.world.now, own, output.speak_as or own, output.to, output.data)
                self.look(sent, segment_of(on if output.to == ALL else output.to))
        super().act(outputs)

    def look(self, sent: Sent, segment: str) -> None:
        at = self.relay._context.roster.at
        for address in presents(sent):
            user = at.get(address)
            if user is not None and hidden(self.settings.shares, user, segment):
                self.leaks.append(f"{sent.time}: {address} to {segment} with {Command(sent.mode).name}")

    def reload(self, *shares: Share) -> None:
        self.settings = replace(self.settings, shares=shares)
        self.act(self.relay.reconfigure(self.settings, self.clock))


class Scene:
    """A relay on 10.1.1 and 10.1.2 that sweeps 10.1.7; two users in each."""

    def __init__(
        self,
        *shares: Share,
        kinds: Sequence[type[Client]] = (Windows, Plain, Feiq, Windows, Plain, Windows),
        key: PrivateKey | None = None,
        can_speak: bool = True,
        start: bool = True,
        **more: Any,
    ) -> None:
        self.world = World()
        self.relay = Node(
            self.world,
            ("10.1.1.2", "10.1.2.2"),
            remote=("10.1.7.11", "10.1.7.12", "10.1.7.13"),
            key=key,
            can_speak=can_speak,
            shares=shares,
            **more,
        )
        places = [f"10.1.{front}.{n}" for front in (1, 2, 7) for n in (11, 12)]
        self.users = [
            kind(self.world, address, f"n{n}", f"logon{n}", f"host{n}")
            for n, (kind, address) in enumerate(zip(kinds, places, strict=False))
        ]
        self.a, self.b = self.users[0], self.users[2]
        if start:
            self.relay.start()
            for user in self.users:
                user.start()
            self.world.run(90)

    def regroup(self, user: Client, group: str) -> None:
        user.group = group
        user.rename(user.nick)
        self.world.run(3)

    def complaints(self) -> list[str]:
        """Lists that are not what the rules want, by what the relay knows."""
        world, node = self.world, self.relay
        found = [*node.leaks, *misplaced(world), *provoked(world), *too_fast(world), *misread(world)]
        found += ghosts(world) + twice(world)
        at = node.relay._context.roster.at
        for listener in (one for one in world.clients if one.alive):
            for user in (one for one in world.clients if one.alive and one is not listener):
                known = at.get(user.address)
                there = listener.listed.get(user.address)
                if known is not None and hidden(node.settings.shares, known, segment_of(listener.address)):
                    if there is not None:
                        found.append(f"{listener.address} lists {user.address}, who is hidden from it")
                elif serves(node, listener, user) and there != shown(user):
                    found.append(f"{listener.address} shows {there} at {user.address}")
        return found

    def check(self) -> None:
        assert self.complaints() == []


FROM_FIRST = Share(("10.1.1.*",), ("10.1.2.*",))
SECRET = Share(("group:secret",), ("10.1.2.*", "10.1.7.*"))

ways = pytest.mark.parametrize(
    ("kinds", "key", "can_speak"),
    [
        ((Windows, Plain, Feiq, Windows, Plain, Windows), None, True),
        ((Windows499,) * 6, RELAY, False),
        ((Windows499, Plain, Windows499, Feiq, Windows499, Plain), RELAY, True),
    ],
    ids=["classic", "signed", "both"],
)


@ways
def test_a_rule_is_about_one_direction(
    kinds: Sequence[type[Client]], key: PrivateKey | None, can_speak: bool
) -> None:
    scene = Scene(FROM_FIRST, kinds=kinds, key=key, can_speak=can_speak)
    scene.check()
    assert scene.a.address not in scene.b.listed
    assert scene.b.address in scene.a.listed
    scene.b.refresh()
    scene.world.run(30)
    scene.check()


@ways
def test_who_changes_its_group_leaves_for_some_and_comes_back(
    kinds: Sequence[type[Client]], key: PrivateKey | None, can_speak: bool
) -> None:
    scene = Scene(SECRET, kinds=kinds, key=key, can_speak=can_speak)
    assert scene.a.address in scene.b.listed
    scene.regroup(scene.a, "Secret")
    scene.check()
    assert scene.a.address not in scene.b.listed
    scene.world.run(60)
    scene.check()
    scene.regroup(scene.a, "sales")
    assert scene.a.address in scene.b.listed
    scene.world.run(60)
    scene.check()


@ways
def test_other_rules_are_taken_over_with_a_reload(
    kinds: Sequence[type[Client]], key: PrivateKey | None, can_speak: bool
) -> None:
    scene = Scene(kinds=kinds, key=key, can_speak=can_speak)
    scene.regroup(scene.b, "secret")
    for shares in (
        (FROM_FIRST,),
        (FROM_FIRST, Share(("*",), ("10.1.1.*",))),
        (SECRET,),
        (),
        (FROM_FIRST,),
        (SECRET,),
    ):
        scene.relay.reload(*shares)
        scene.world.run(15)
        scene.check()


def mentions(sent: Sent, address: str) -> bool:
    """Does this say that somebody is, or is no longer, at ``address``?"""
    if sent.mode == Command.ANSLIST_DICT:
        return any(host.address == address for host in hosts(sent.dictionary.fields))
    return (sent.announces and sent.source == address) or address in presents(sent)


@ways
def test_who_leaves_is_gone_where_it_was_shown_and_not_heard_of_elsewhere(
    kinds: Sequence[type[Client]], key: PrivateKey | None, can_speak: bool
) -> None:
    rule = Share(("10.1.1.*",), ("10.1.7.*",))
    scene = Scene(rule, kinds=kinds, key=key, can_speak=can_speak, announce_every=600.0)
    begun = scene.world.now
    scene.a.exit()
    scene.world.run(10)
    assert scene.a.address not in scene.b.listed
    scene.world.run(2_000)  # rounds say it again
    told = [sent for sent in scene.world.since(begun) if mentions(sent, scene.a.address)]
    assert {segment_of(sent.to) for sent in told} == {"10.1.2"}
    scene.check()


def test_who_was_gone_before_a_restart_is_not_heard_of_where_it_is_hidden() -> None:
    scene = Scene(SECRET, start=False, announce_every=600.0)
    saved = [
        SavedUser(b"1:1:%b:pc:3:nick\0%b" % (name, group), "", f"10.1.1.{n}", 2425, False, 10.0, 100.0)
        for n, name, group in ((50, b"ann", b"sales"), (51, b"bob", b"secret"))
    ]
    scene.relay.start(saved)
    scene.b.start()
    scene.world.run(2_000)
    assert any(mentions(sent, "10.1.1.50") for sent in scene.world.wire)
    assert not any(mentions(sent, "10.1.1.51") for sent in scene.world.wire)


@ways
def test_what_waits_to_be_told_is_not_if_it_is_hidden_meanwhile(
    kinds: Sequence[type[Client]], key: PrivateKey | None, can_speak: bool
) -> None:
    scene = Scene(SECRET, kinds=kinds, key=key, can_speak=can_speak)
    scene.a.rename("another")
    scene.regroup(scene.a, "secret")
    scene.check()


@pytest.mark.parametrize("kind", [Plain, Windows, Windows499])
@pytest.mark.parametrize("how", ["list", "round", "changes"])
def test_what_is_hidden_while_a_list_is_said_is_not_in_the_rest_of_it(how: str, kind: type[Client]) -> None:
    signed = kind is Windows499
    scene = Scene(SECRET, kinds=(Plain, Plain, kind), key=RELAY if signed else None, can_speak=not signed)
    crowd = [Plain(scene.world, f"10.1.1.{n}", f"n{n}") for n in range(20, 150)]
    for client in crowd:
        client.start()
    scene.world.run(60)
    begun = scene.world.now
    if how == "round":
        scene.relay.reload(SECRET, Share(("10.1.1.11/32",), ("10.1.7.*",)))
    elif how == "list":
        scene.b.refresh()
        scene.world.run(0.28)
    else:
        for client in crowd:
            client.rename("another")
    scene.world.run(0.05)
    for client in crowd:
        client.group = "secret"
        client.rename(client.nick)
    scene.world.run(30)
    told = [sent for sent in scene.world.since(begun) if segment_of(sent.to) == "10.1.2"]
    assert any(mentions(sent, crowd[0].address) for sent in told)
    scene.check()


def test_a_farewell_of_who_is_hidden_is_said_twice() -> None:
    scene = Scene(SECRET)
    scene.a.group = "secret"
    scene.a.rename(scene.a.nick)
    scene.world.loss = 1.0
    scene.world.run(1)
    scene.world.loss = 0.0
    assert scene.a.address in scene.b.listed
    scene.world.run(2)
    assert scene.a.address not in scene.b.listed


def test_who_takes_a_place_hidden_from_some_drives_the_one_before_from_their_lists() -> None:
    scene = Scene(SECRET)
    address = scene.a.address
    scene.a.kill()
    scene.world.run(1)
    successor = Windows(scene.world, address, "new", "other", "another")
    successor.group = "secret"
    assert address in scene.b.listed
    successor.start()
    scene.world.run(20)
    assert address not in scene.b.listed
    scene.check()


def test_a_move_into_a_segment_that_is_hidden_takes_the_old_place_with_it() -> None:
    scene = Scene(Share(("10.1.7.*",), ("10.1.2.*",)))
    was = scene.a.address
    scene.a.kill()
    scene.a.move("10.1.7.13")
    scene.a.start()
    scene.world.run(4_000)
    assert was not in scene.b.listed
    assert "10.1.7.13" not in scene.b.listed
    scene.check()


def test_a_list_in_the_classic_form_has_only_whom_its_reader_may_see() -> None:
    scene = Scene(FROM_FIRST, kinds=(Windows, ListAsker, ListAsker, Plain, Plain, Plain))
    listed = [
        sent
        for sent in scene.world.wire
        if sent.mode == Command.ANSLIST and sent.sender in ("10.1.1.2", "10.1.2.2")
    ]
    assert {segment_of(sent.to) for sent in listed} >= {"10.1.1", "10.1.2"}
    for sent in listed:
        if segment_of(sent.to) == "10.1.2":
            assert not [address for address in presents(sent) if segment_of(address) == "10.1.1"]
    scene.check()


def test_who_tells_others_of_itself_is_not_hidden_by_any_rule_of_ours() -> None:
    """iptux says a rename to everybody in its own list; hidden in both directions nobody is in it."""
    one_way = Scene(FROM_FIRST, kinds=(Iptux, Plain, Windows))
    one_way.a.rename("me")
    one_way.world.run(1)
    assert one_way.b.listed[one_way.a.address] == "me"
    assert one_way.relay.leaks == []
    both_ways = Scene(FROM_FIRST, Share(("10.1.2.*",), ("10.1.1.*",)), kinds=(Iptux, Plain, Windows))
    both_ways.a.rename("me")
    both_ways.world.run(60)
    both_ways.check()


def test_without_rules_nobody_has_a_number_of_its_own() -> None:
    scene = Scene()
    assert {user.shares for user in scene.relay.relay._context.roster.by_key.values()} == {0}
    assert Scene(FROM_FIRST).relay.relay._context.roster.at["10.1.2.11"].shares == 0


def test_all_about_whom_the_same_rules_speak_have_one_number() -> None:
    scene = Scene(FROM_FIRST, SECRET)
    at = scene.relay.relay._context.roster.at
    assert at["10.1.1.11"].shares == at["10.1.1.12"].shares != 0
    scene.regroup(scene.a, "secret")
    assert at["10.1.1.11"].shares not in (0, at["10.1.1.12"].shares)


# -- whatever happens --------------------------------------------------------------------------------------------------

RULES = [
    (),
    (FROM_FIRST,),
    (SECRET,),
    (Share(("group:secret",), ("10.1.1.*",), allow=True), Share(("group:s*", "10.1.7.*"), ("*",))),
    (Share(("10.1.2.12/32",), ("10.0.0.0/8",)), SECRET, Share(("*",), ("10.1.7.*",))),
]
GROUPS = ["sales", "Secret", "staff"]
POOL = [f"10.1.{front}.{n}" for front in (1, 2, 7) for n in (11, 12, 13)]
ACTIONS = ["start", "exit", "kill", "rename", "refresh", "regroup", "regroup", "move", "reload"]
Step = tuple[str, int, int, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.integers(0, 5),
        st.integers(0, 8),
        st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0, 3.0, 9.0, 250.0]),
    ),
    max_size=20,
)
SOONER: dict[str, Any] = {"sweep_every": 300.0, "sweep_unknown_every": 900.0, "announce_every": 1800.0}


def happen(scene: Scene, step: Step) -> None:
    action, who, what, pause = step
    client = scene.users[who]
    here = scene.world.nodes.get(client.address) is client
    if action == "reload":
        scene.relay.reload(*RULES[what % len(RULES)])
    elif action == "start" and here and not client.alive:
        client.start()
    elif action == "move" and here:
        sitting = scene.world.nodes.get(POOL[what])
        if sitting is None or (isinstance(sitting, Client) and not sitting.alive):
            client.kill()
            scene.world.run(1.2)  # what it still had to answer is not sent from the new place
            client.move(POOL[what])
            client.start()
    elif action == "regroup" and client.alive:
        client.group = GROUPS[what % len(GROUPS)]
        client.rename(client.nick)
    elif action == "rename" and client.alive:
        client.rename(f"{client.nick[:2]} {what}")
    elif action in ("exit", "kill", "refresh") and client.alive:
        getattr(client, action)()
    scene.world.run(pause)


@given(st.sampled_from(RULES), st.sampled_from(["classic", "signed", "both"]), steps)
@example(
    RULES[1],
    "both",
    [("reload", 0, 4, 0.0), ("move", 2, 2, 1.0), ("regroup", 0, 1, 0.0), ("reload", 0, 2, 0.1)],
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_nobody_ever_reaches_a_segment_that_the_rules_hide_it_from(
    shares: tuple[Share, ...], way: str, happened: list[Step]
) -> None:
    kinds: dict[str, Sequence[type[Client]]] = {
        "classic": (Windows, Plain, Feiq, Windows, ListAsker, Windows),
        "signed": (Windows499, Plain, Windows499, Windows499, Windows499, Plain),
        "both": (Windows499, Feiq, Plain, Windows499, Windows499, Plain),
    }
    key = None if way == "classic" else RELAY
    scene = Scene(*shares, kinds=kinds[way], key=key, can_speak=way != "signed", start=False, **SOONER)
    scene.relay.start()
    for client in scene.users[:4]:
        client.start()
    for step in happened:
        happen(scene, step)
        assert scene.relay.leaks == []
    scene.world.run(2_700)
    scene.check()
