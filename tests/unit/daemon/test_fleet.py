"""The fleet as one relay knows it: invitations, members, names, removal, rotation, and what is on disk of it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon import fleetnames, joining, rotating, wire
from camrelay.daemon.fleet import AT_ONCE, Fleet
from camrelay.daemon.invitations import GOOD_FOR, KEPT, MOST_KEPT, MOST_OPEN, Invitations
from camrelay.daemon.membership import CHANGES_A_MINUTE, MOST_SENSELESS
from camrelay.daemon.peerkey import PeerKey
from camrelay.daemon.wire import Bye, Member, Members, Seen
from camrelay.errors import FleetError, UsageError
from tests.fleets import NOW, Net, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleets import Box

KEYS = [PeerKey.from_seed(bytes([n]) * 32) for n in range(5)]
SEED = bytes(range(32))
ONE_TIME = PeerKey.from_seed(SEED)


@pytest.fixture
def net(tmp_path: Path) -> Net:
    """Three relays in one fleet, linked, and a fourth that is alone."""
    made = Net(tmp_path, ["hq", "lab", "shop", "new"])
    for name in ("lab", "shop"):
        made.join(made[name], made["hq"])
    made.settle()
    return made


def stranger(name: str = "x", key: PeerKey = KEYS[0], revision: int = 1) -> Member:
    return Member(key.id, name, (f"{name}:2425",), (key.cert,), revision)


def spoil(box: Box) -> None:
    """From now on the disk does not take fleet.toml."""
    (box.directory / "fleet.toml").unlink()
    (box.directory / "fleet.toml").mkdir()


def mend(box: Box) -> None:
    (box.directory / "fleet.toml").rmdir()


# Alone


def test_a_relay_in_no_fleet_has_no_key_and_no_file(tmp_path: Path) -> None:
    fleet = Fleet.open(tmp_path, "hq")
    fleet.readdress("hq-2", ("10.0.0.1:2425",))
    fleet.review()
    assert (fleet.me.id, fleet.me.name, fleet.needed, fleet.pins(), fleet.problem) == (
        "",
        "hq-2",
        False,
        (),
        "",
    )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FleetError, match="no peer key yet"):
        fleet.key()


# Coming in


def test_an_invitation_makes_one_relay_a_member_of_all(net: Net) -> None:
    net.join(net["new"], net["shop"])
    assert net["shop"].id in net["new"].fleet.members
    net.settle()
    assert {box.id for box in net.boxes.values()} == set(net["hq"].known())
    assert all(box.known() == net["hq"].known() for box in net.boxes.values())
    for box in net.boxes.values():
        assert stat.S_IMODE((box.directory / "fleet.toml").stat().st_mode) == 0o600
        assert sorted(path.name for path in box.directory.iterdir()) == ["fleet.toml", "peer.pem"]


def test_a_token_is_spent_on_disk_before_its_owner_is_welcome(net: Net) -> None:
    hq, new = net["hq"], net["new"]
    prepare(new.fleet)
    joining.invite(hq.fleet, "new", ONE_TIME.cert)
    joining.admit(hq.fleet, ONE_TIME.fingerprint, new.fleet.me)
    net.restart(hq)  # the answer never arrived
    with pytest.raises(FleetError, match="used before, by another relay"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger())
    net.come(new, hq, ONE_TIME)  # the same relay may ask again
    assert hq.id in new.fleet.members


def test_each_reason_to_refuse_a_token_has_its_own_words(net: Net) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    with pytest.raises(FleetError, match="not known here"):
        joining.admit(hq.fleet, KEYS[1].fingerprint, stranger())
    net.now += GOOD_FOR
    hq.fleet.review()
    assert hq.fleet.who(ONE_TIME.fingerprint) == ("invitation", ""), "it can be told that it is too late"
    net.now += 300
    with pytest.raises(FleetError, match=r"expired 5 min ago: make another"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger())
    net.now += KEPT
    hq.fleet.review()
    assert hq.fleet.who(ONE_TIME.fingerprint) is None
    assert ONE_TIME.cert not in hq.fleet.pins()


def test_open_invitations_survive_a_restart_and_their_secret_is_nowhere(net: Net) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "new", ONE_TIME.cert)
    net.restart(hq)
    assert [one.name for one in hq.fleet.invitations.open(net.now)] == ["new"]
    assert ONE_TIME.cert in hq.fleet.pins()
    text = (hq.directory / "fleet.toml").read_bytes()
    import base64

    assert SEED not in text
    assert base64.b64encode(SEED)[:20] not in text
    assert SEED.hex().encode() not in text


def test_invitations_are_bounded() -> None:
    table = Invitations()
    for n in range(MOST_OPEN):
        table.add("", PeerKey.from_seed(n.to_bytes(32, "big")).cert, NOW)
    with pytest.raises(FleetError, match="open already"):
        table.add("", ONE_TIME.cert, NOW)
    for n in range(MOST_OPEN, MOST_KEPT + 20):
        table.add("", PeerKey.from_seed(n.to_bytes(32, "big")).cert, NOW + GOOD_FOR * n)
    assert table.purge(NOW + GOOD_FOR * 30)
    assert len(table.by_key) <= MOST_KEPT + MOST_OPEN


def test_a_relay_without_an_address_cannot_invite(tmp_path: Path) -> None:
    fleet = Fleet.open(tmp_path, "hq")
    prepare(fleet)
    with pytest.raises(FleetError, match=r"set \[peers\] address"):
        joining.invite(fleet, "", ONE_TIME.cert)


def test_a_member_does_not_join_another_fleet(net: Net) -> None:
    with pytest.raises(FleetError, match=r"in a fleet of 3 already: .* camrelay peer remove lab"):
        net.join(net["lab"], net["new"])


@pytest.mark.parametrize("who", ["member", "inviter", "copy"])
def test_a_key_that_is_in_use_is_not_let_in_again(net: Net, who: str) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    newcomer = {
        "member": stranger(key=KEYS[2])._replace(certs=net["lab"].fleet.key().certs),
        "inviter": hq.fleet.me,
        "copy": stranger(key=KEYS[2])._replace(certs=(b"nonsense",)),
    }[who]
    with pytest.raises(FleetError, match="in use here already"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, newcomer)
    assert len(hq.fleet.invitations.open(net.now)) == 1, "the token is still good"


def test_who_is_not_saved_is_not_let_in(net: Net) -> None:
    hq, new = net["hq"], net["new"]
    prepare(new.fleet)
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    spoil(hq)
    with pytest.raises(FleetError, match=r"fleet\.toml: is a directory: nothing was changed"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, new.fleet.me)
    assert new.id not in hq.fleet.members
    with pytest.raises(FleetError, match="is a directory"):
        joining.invite(hq.fleet, "", KEYS[0].cert)
    mend(hq)
    net.come(new, hq, ONE_TIME)
    spoil(net["shop"])


def test_a_newcomer_that_cannot_save_its_fleet_is_in_none(net: Net) -> None:
    hq, new = net["hq"], net["new"]
    (new.directory / "fleet.toml").mkdir()
    with pytest.raises(FleetError, match="is a directory"):
        net.join(new, hq)
    assert not new.fleet.members


def test_a_welcome_that_does_not_name_the_inviter_is_refused(net: Net) -> None:
    prepare(net["new"].fleet)
    with pytest.raises(FleetError, match="does not name itself"):
        joining.adopt(net["new"].fleet, wire.Welcome((stranger(),)), ONE_TIME.fingerprint)


# Names


def test_two_relays_of_one_name_are_told_apart(net: Net) -> None:
    hq, lab, shop = (net[name] for name in ("hq", "lab", "shop"))
    assert hq.fleet.label(lab.id) == "lab"
    shop.fleet.readdress("LAB", ("shop:1",))
    net.settle()
    assert hq.fleet.label(lab.id) == f"lab~{lab.id[:4]}"
    assert hq.fleet.label(shop.id) == f"LAB~{shop.id[:4]}"
    assert fleetnames.find(hq.fleet, f"lab~{lab.id[:4]}") == lab.id
    assert fleetnames.find(hq.fleet, shop.id[:8]) == shop.id
    assert fleetnames.find(hq.fleet, " HQ ") == hq.id
    with pytest.raises(UsageError, match=r"'lab' is more than one relay: LAB~.*, lab~"):
        fleetnames.find(hq.fleet, "lab")
    for unknown in ("", "la", lab.id[:3], "nobody"):
        with pytest.raises(UsageError, match="no relay of the fleet is called"):
            fleetnames.find(hq.fleet, unknown)


def test_a_new_name_and_address_are_known_everywhere_and_after_a_restart(net: Net) -> None:
    net["lab"].move("lab.example.org:443")
    net.settle()
    for name in ("hq", "shop"):
        net.restart(net[name])
        assert net[name].fleet.addresses(net["lab"].id) == ("lab.example.org:443",)


# Going out


def test_a_removed_relay_is_told_and_goes_on_alone_as_another(net: Net) -> None:
    shop, before = net["shop"], net["shop"].id
    net.remove(before, net["lab"])
    net.settle()
    for name in ("hq", "lab"):
        assert before not in net[name].fleet.members
        assert len(net[name].linked) == 1
    assert (shop.fleet.members, shop.fleet.removed_by, shop.id) == ({}, "lab", "")
    net.restart(shop)
    assert (shop.fleet.removed_by, shop.fleet.removed_at, shop.fleet.problem) == ("lab", net.now, "")
    net.join(shop, net["hq"])  # as a new relay it may come back
    net.settle()
    assert (shop.fleet.removed_by, len(net["lab"].fleet.members)) == ("", 2)
    assert shop.id != before


def test_one_that_was_away_when_it_was_removed_is_told_when_it_calls(net: Net) -> None:
    shop, before = net["shop"], net["shop"].id
    net.restart(shop)
    net.remove(before, net["lab"])
    net["lab"].hear() if net["lab"].inbox else None
    assert net["lab"].fleet.who(shop.fleet.key().fingerprint) == ("removed", before)
    assert net["lab"].fleet.dismissal(before)[0] == Members(
        (Member(before, "shop", (), (), net["hq"].fleet.members[before].revision, True),)
    )
    net.settle()
    assert not shop.fleet.members


def test_leaving_tells_the_others(net: Net) -> None:
    lab, before = net["lab"], net["lab"].id
    net.remove(before, lab)
    net.settle()
    assert lab.id == ""
    assert not (lab.directory / "peer.pem").exists()
    assert all(before in net[name].fleet.membership.removed for name in ("hq", "shop"))
    assert lab.fleet.removed_by == "", "it left by itself"
    with pytest.raises(UsageError, match="in no fleet"):
        net.remove("", lab)


def test_a_removal_counts_though_the_disk_is_full_and_is_saved_later(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    spoil(hq)
    net.remove(lab.id, hq)
    assert lab.id not in hq.linked
    assert "is a directory" in hq.fleet.trouble
    mend(hq)
    hq.fleet.review()
    assert hq.fleet.trouble == ""
    net.restart(hq)
    assert len(hq.fleet.members) == 1


# A new key


def test_a_new_key_is_used_when_all_have_acknowledged_it(net: Net) -> None:
    hq, old = net["hq"], net["hq"].fleet.key().fingerprint
    net.restart(net["shop"])  # no link
    net.rotate(hq)
    while net["lab"].inbox or hq.inbox:
        for box in (net["lab"], hq):
            if box.inbox:
                box.hear()
    assert rotating.awaited(hq.fleet) == ["shop"]
    assert hq.fleet.key().fingerprint == old
    assert len(net["lab"].fleet.pins_of(hq.id)) == 2
    with pytest.raises(FleetError, match="being changed already; still to take it: shop"):
        net.rotate(hq)
    net.restart(hq)  # in the middle
    assert (rotating.awaited(hq.fleet), hq.fleet.key().fingerprint) == (["shop"], old)
    net.settle()
    assert not rotating.in_progress(hq.fleet)
    new = hq.fleet.key().fingerprint
    assert new != old
    assert all(net[name].fleet.pins_of(hq.id) == {new} for name in ("lab", "shop"))
    net.restart(net["lab"])
    net.settle()
    assert len(hq.linked) == 2


def test_who_will_not_come_back_is_not_waited_for_after_its_removal(net: Net) -> None:
    hq = net["hq"]
    gone = net["shop"].id
    net.boxes.pop("shop")
    net.rotate(hq)
    net.settle()
    assert rotating.in_progress(hq.fleet)
    net.remove(gone, hq)
    net.settle()
    assert not rotating.in_progress(hq.fleet)


def test_an_open_invitation_keeps_the_key_that_its_token_names(net: Net) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "new", ONE_TIME.cert)
    net.rotate(hq)
    net.settle()
    assert rotating.awaited(hq.fleet) == ["the invitation new"]
    net.now += GOOD_FOR
    net.settle()
    assert rotating.awaited(hq.fleet) == []
    assert not rotating.in_progress(hq.fleet)


def test_alone_a_new_key_is_used_at_once(net: Net) -> None:
    new = net["new"]
    prepare(new.fleet)
    before = new.id
    net.rotate(new)
    assert (new.id, new.fleet.key().fingerprint != before) == (before, True)


def test_a_crash_when_a_rotation_had_only_begun_on_disk_goes_on_with_it(net: Net) -> None:
    hq = net["hq"]
    key = hq.fleet.key().rotated()
    key.save(hq.directory)  # and then the power failed
    net.restart(hq)
    assert hq.fleet.me.certs == key.certs
    net.settle()
    assert hq.fleet.key().certs == key.certs[1:]
    assert all(net[name].fleet.members[hq.id] == hq.fleet.me for name in ("lab", "shop"))


def test_a_crash_when_a_rotation_had_only_ended_in_one_file_says_the_same_again(net: Net) -> None:
    hq = net["hq"]
    net.rotate(hq)
    between = (hq.directory / "fleet.toml").read_bytes()
    net.settle()
    said = hq.fleet.me
    (hq.directory / "fleet.toml").write_bytes(between)
    net.restart(hq)
    assert hq.fleet.me == said
    net.settle()
    assert len(hq.linked) == 2


# What members say


def test_what_nobody_can_mean_is_ignored_and_counted(net: Net) -> None:
    hq, lab, shop = net["hq"], net["lab"], net["shop"]
    wrong = [
        stranger()._replace(certs=()),
        stranger()._replace(certs=(b"nonsense",)),
        stranger()._replace(certs=tuple(key.cert for key in KEYS[:3])),
        stranger()._replace(certs=net["shop"].fleet.key().certs),
        stranger()._replace(certs=hq.fleet.key().certs),
        stranger("line\nbreak"),
        stranger(revision=2**62),
    ]
    before = hq.known()
    for record in wrong:
        assert hq.fleet.hear(lab.id, Members((record,))) == []
    assert hq.known() == before
    assert hq.fleet.counters == {"fleet records ignored: senseless": len(wrong)}
    hq.fleet.key().server_context(hq.fleet.pins())
    hq.fleet.hear(shop.id, Members(tuple(wrong) * 3))
    assert hq.fleet.counters["fleet records ignored: senseless"] == len(wrong) + MOST_SENSELESS


def test_nobody_speaks_for_a_member_that_spoke_for_itself(net: Net) -> None:
    hq, lab, shop = net["hq"], net["lab"], net["shop"]
    forged = hq.fleet.members[shop.id]._replace(addresses=("evil:1",), revision=99)
    hq.fleet.hear(lab.id, Members((forged,)))
    assert hq.fleet.addresses(shop.id) == ("shop.example.com:2425",)


def test_of_one_that_nobody_heard_yet_the_newest_word_counts_until_it_speaks(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    for revision in (5, 7, 6):
        hq.fleet.hear(lab.id, Members((stranger(f"r{revision}", revision=revision),)))
    assert hq.fleet.members[KEYS[0].id].name == "r7"
    hq.fleet.hear(KEYS[0].id, Members((stranger("itself", revision=2),)))
    assert hq.fleet.members[KEYS[0].id].name == "itself"


def test_a_relay_from_an_old_copy_of_its_disk_takes_a_revision_that_others_will_hear(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    old = (lab.directory / "fleet.toml").read_bytes()
    lab.move("one:1")
    lab.move("two:2")
    net.settle()
    (lab.directory / "fleet.toml").write_bytes(old)
    lab.address = "three:3"
    net.restart(lab)
    net.settle()
    assert hq.fleet.addresses(lab.id) == ("three:3",)


def test_a_member_that_changes_all_the_time_does_not_keep_the_disk_busy(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    for n in range(CHANGES_A_MINUTE + 20):
        record = hq.fleet.members[lab.id]
        hq.fleet.hear(
            lab.id, Members((record._replace(revision=record.revision + 1, addresses=(f"h:{n}",)),))
        )
    assert hq.fleet.counters["fleet messages ignored: too many changes"] >= 10
    assert hq.fleet.hear(net["shop"].id, Members((net["shop"].fleet.me,))) != []


def test_what_is_not_on_disk_is_not_acknowledged(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    changed = hq.fleet.members[lab.id]._replace(revision=50)
    spoil(hq)
    assert Seen(lab.id, 50) not in [said for _, said in hq.fleet.hear(lab.id, Members((changed,)))]
    mend(hq)
    assert (lab.id, Seen(lab.id, 50)) in hq.fleet.hear(lab.id, Members((changed,)))


def test_strangers_and_removed_ones_say_nothing(net: Net) -> None:
    hq = net["hq"]
    before = hq.known()
    assert hq.fleet.hear(KEYS[3].id, Members((stranger(),))) == []
    assert hq.fleet.hear(KEYS[3].id, Seen(hq.id, 99)) == []
    assert (hq.known(), hq.fleet.members.get(KEYS[0].id)) == (before, None)


def test_a_large_fleet_is_told_in_pieces(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    for n in range(100, 100 + AT_ONCE):
        key = PeerKey.from_seed(n.to_bytes(32, "big"))
        hq.fleet.membership.restore(stranger(f"r{n}", key))
    pieces = hq.fleet.greeting(lab.id)
    assert [len(piece.members) for piece in pieces if isinstance(piece, Members)] == [AT_ONCE, 3]
    assert all(len(wire.encode(piece)) < 64 << 10 for piece in pieces)


def test_the_last_words_to_a_member_of_a_fleet_that_we_are_not_in(net: Net) -> None:
    assert net["new"].fleet.dismissal(net["hq"].id) == [Bye("new was removed from the fleet")]


# Damage


@pytest.mark.parametrize(
    ("file", "damage", "why"),
    [
        ("fleet.toml", lambda text: text[: len(text) // 2], "damaged"),
        ("fleet.toml", lambda text: text.replace("revision = ", "revision = x"), "damaged"),
        ("fleet.toml", lambda text: text.replace('certs = [\n    "MII', 'certs = [\n    "AAA'), "damaged"),
        ("fleet.toml", lambda text: text.replace("version = 1", "version = 2"), "newer camrelay"),
        ("fleet.toml", lambda text: text.replace('id = "', 'id = "0', 1), "of another relay"),
        ("fleet.toml", lambda text: "x = 1", "damaged"),
        ("fleet.toml", lambda text: "#" * (5 << 20), "too large"),
        ("peer.pem", lambda text: text[:100], "damaged"),
    ],
)
def test_damaged_files_are_said_and_left_alone_and_the_relay_runs_alone(
    net: Net, file: str, damage: object, why: str
) -> None:
    hq = net["hq"]
    path = hq.directory / file
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    before = {entry: entry.read_bytes() for entry in hq.directory.iterdir()}
    net.restart(hq)
    fleet = hq.fleet
    assert why in fleet.problem
    assert str(path) in fleet.problem
    assert (fleet.members, fleet.needed, fleet.me.name) == ({}, False, "hq")
    fleet.review()
    for change in (
        lambda: joining.invite(fleet, "", ONE_TIME.cert),
        lambda: net.rotate(hq),
    ):
        with pytest.raises(FleetError):
            change()
    assert {entry: entry.read_bytes() for entry in hq.directory.iterdir()} == before


def test_a_key_that_is_missing_is_no_reason_for_a_new_one(net: Net) -> None:
    hq = net["hq"]
    (hq.directory / "peer.pem").unlink()
    net.restart(hq)
    assert "peer.pem: missing" in hq.fleet.problem
    assert not (hq.directory / "peer.pem").exists()
