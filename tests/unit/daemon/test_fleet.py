"""The fleet as one relay knows it: invitations, members, names, removal, rotation, and what is on disk of it."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from camrelay.daemon import fleetfile, fleetnames, joining, rotating, wire
from camrelay.daemon.fleet import AT_ONCE, Fleet
from camrelay.daemon.fleetfile import Other, Saved, Self
from camrelay.daemon.invitations import GOOD_FOR, KEPT, MOST_KEPT, MOST_OPEN, Invitations
from camrelay.daemon.membership import (
    CHANGES_A_MINUTE,
    FARTHEST,
    LARGEST_CERT,
    LONGEST_ADDRESS,
    MOST_ADDRESSES,
    MOST_CERTS,
    MOST_MEMBERS,
    MOST_NEW,
    MOST_REMOVED,
    MOST_REVISIONS,
    MOST_SENSELESS,
)
from camrelay.daemon.peerkey import PeerKey, loadable
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


def fat_cert() -> bytes:
    """One that TLS would take, with much in it that nobody needs."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    key, cert = Ed25519PrivateKey.from_private_bytes(b"f" * 32), x509.load_der_x509_certificate(ONE_TIME.cert)
    builder = x509.CertificateBuilder(
        issuer_name=cert.issuer, subject_name=cert.subject, public_key=key.public_key(), serial_number=1,
        not_valid_before=cert.not_valid_before_utc, not_valid_after=cert.not_valid_after_utc,
    )  # fmt: skip
    much = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(LARGEST_CERT))
    made = builder.add_extension(much, critical=False).sign(key, None).public_bytes(Encoding.DER)
    assert loadable(made)
    return made


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
        "copy": hq.fleet.me._replace(addresses=("elsewhere:1",)),
    }[who]
    with pytest.raises(FleetError, match="in use here already"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, newcomer)
    assert len(hq.fleet.invitations.open(net.now)) == 1, "the token is still good"


@pytest.mark.parametrize("certs", [(), (b"nonsense",), (KEYS[2].cert,)])
def test_the_id_of_a_member_lets_nobody_in_without_its_key(net: Net, certs: tuple[bytes, ...]) -> None:
    hq, lab = net["hq"], net["lab"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    with pytest.raises(FleetError, match="a member already, with another key"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, lab.fleet.me._replace(certs=certs))
    assert hq.fleet.members[lab.id] == lab.fleet.me


def test_a_member_that_lost_its_fleet_comes_back_and_spends_its_token_too(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    spoil(hq)
    with pytest.raises(FleetError, match="is a directory"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, lab.fleet.me)
    assert len(hq.fleet.invitations.open(net.now)) == 1
    assert lab.id in hq.fleet.members
    mend(hq)
    assert len(joining.admit(hq.fleet, ONE_TIME.fingerprint, lab.fleet.me).members) == 3
    net.restart(hq)
    assert not hq.fleet.invitations.open(net.now)
    with pytest.raises(FleetError, match="used before, by another relay"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger())


def test_a_used_token_is_no_good_for_another_key_under_the_same_id(net: Net) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger())
    assert len(joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger()).members) == 4
    with pytest.raises(FleetError, match="a member already, with another key"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger()._replace(certs=(KEYS[1].cert,)))


@pytest.mark.parametrize(
    "change",
    [{"removed": True}, {"certs": ()}, {"certs": (b"nonsense",)}, {"addresses": ("h" * 96 + ":2425",)}],
)
def test_a_newcomer_that_nobody_can_mean_is_refused(net: Net, change: dict[str, object]) -> None:
    hq = net["hq"]
    joining.invite(hq.fleet, "", ONE_TIME.cert)
    with pytest.raises(FleetError, match="says what cannot be"):
        joining.admit(hq.fleet, ONE_TIME.fingerprint, stranger()._replace(**change))  # type: ignore[arg-type]
    assert KEYS[0].id not in {**hq.fleet.members, **hq.fleet.membership.removed}


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


def test_a_welcome_with_a_certificate_that_is_none_is_told_in_words_or_left_out(net: Net) -> None:
    new, junk = net["new"], stranger()._replace(certs=(b"junk",))
    prepare(new.fleet)
    with pytest.raises(FleetError, match="does not name itself"):
        joining.adopt(new.fleet, wire.Welcome((junk,)), ONE_TIME.fingerprint)
    inviter = stranger(key=KEYS[1])
    assert joining.adopt(new.fleet, wire.Welcome((junk, inviter)), KEYS[1].fingerprint) == inviter
    assert new.fleet.members == {inviter.id: inviter}


# Names


def test_two_relays_of_one_name_are_told_apart(net: Net) -> None:
    hq, lab, shop = (net[name] for name in ("hq", "lab", "shop"))
    assert hq.fleet.label(lab.id) == "lab"
    shop.fleet.readdress("LAB", ("shop:1",))
    net.settle()
    assert hq.fleet.label(lab.id) == f"lab~{lab.id[:4]}"
    assert hq.fleet.label(shop.id) == f"LAB~{shop.id[:4]}"
    assert fleetnames.find(hq.fleet, f"lab~{lab.id[:4]}") == lab.id
    shop.fleet.readdress(f"lab~{lab.id[:4]}", ("shop:1",))
    net.settle()
    assert hq.fleet.label(lab.id) == f"lab~{lab.id[:4]}"
    assert hq.fleet.label(shop.id) == f"lab~{lab.id[:4]}~{shop.id[:4]}", (
        "nobody can take the label of another"
    )
    shop.fleet.readdress("LAB", ("shop:1",))
    net.settle()
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
        stranger()._replace(addresses=("h" * 96 + ":2425",)),
        stranger()._replace(addresses=("h:1",) * 17),
        stranger()._replace(certs=(fat_cert(),)),
    ]
    before = hq.known()
    for record in wrong:
        assert hq.fleet.hear(lab.id, Members((record,))) == []
    assert hq.known() == before
    assert hq.fleet.counters == {"fleet records ignored: senseless": len(wrong)}
    hq.fleet.key().server_context(hq.fleet.pins())
    removal = stranger(key=KEYS[4])._replace(removed=True, addresses=("h" * 200 + ":1",))
    hq.fleet.hear(shop.id, Members((*wrong * 3, removal)))
    assert hq.fleet.membership.removed[KEYS[4].id].addresses == ()
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


def test_nobody_brings_our_revisions_to_their_end(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    for far in (2**62 - 1, hq.fleet.me.revision + FARTHEST):
        before = hq.fleet.me
        hq.fleet.hear(lab.id, Members((before._replace(name="x", revision=far),)))
        assert hq.fleet.me == before
    hq.fleet.hear(lab.id, Members((before._replace(name="x", revision=before.revision + FARTHEST - 1),)))
    assert hq.fleet.me.revision == before.revision + FARTHEST
    hq.move("elsewhere:2425")
    net.settle()
    assert lab.fleet.addresses(hq.id) == ("elsewhere:2425",)


@pytest.mark.parametrize("what", ["overtaken", "trouble", "removed"])
def test_every_write_to_disk_that_a_member_causes_is_counted(net: Net, what: str) -> None:
    hq, lab, saves = net["hq"], net["lab"], 0
    save = hq.fleet.save

    def count() -> bool:
        nonlocal saves
        saves += 1
        return save()

    hq.fleet.save = count  # type: ignore[method-assign]
    gone = stranger()._replace(removed=True)
    if what != "overtaken":
        hq.fleet.hear(lab.id, Members((gone,)))
        spoil(hq)
        hq.fleet.save()
    for _ in range(CHANGES_A_MINUTE * 2):
        told = hq.fleet.me._replace(name="x") if what == "overtaken" else lab.fleet.me
        hq.fleet.hear(lab.id, Members((told, gone) if what == "removed" else (told,)))
    assert saves <= CHANGES_A_MINUTE + 2
    assert hq.fleet.counters["fleet messages ignored: too many changes"] >= CHANGES_A_MINUTE


def test_acknowledgements_of_what_was_said_before_are_not_saved(net: Net) -> None:
    hq, lab = net["hq"], net["lab"]
    hq.fleet.me = hq.fleet.me._replace(revision=99)
    net.rotate(hq)
    spoil(hq)
    for revision in range(90, 100):
        hq.fleet.hear(lab.id, Seen(hq.id, revision))
    assert hq.fleet.trouble == ""
    hq.fleet.hear(lab.id, Seen(hq.id, 100))
    assert "is a directory" in hq.fleet.trouble


def test_a_removal_is_heard_from_one_whose_changes_are_too_many(net: Net) -> None:
    hq, lab, shop = net["hq"], net["lab"], net["shop"]
    for _ in range(CHANGES_A_MINUTE + 10):
        for peer, message in hq.fleet.hear(shop.id, Members((hq.fleet.me._replace(name="x"),))):
            hq.tell(peer, message)
    for n in range(CHANGES_A_MINUTE):
        hq.move(f"h:{n}")
    gone = shop.id
    net.remove(gone, hq)
    while lab.inbox:
        lab.hear()
    assert lab.fleet.counters["fleet messages ignored: too many changes"] > 0
    assert gone in lab.fleet.membership.removed


def test_a_member_names_a_few_new_ones_a_minute_and_the_others_wait_their_turn(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq, lab = net["hq"], net["lab"]
    crowd = [stranger(f"r{n}", PeerKey.from_seed(n.to_bytes(32, "big"))) for n in range(100, 112)]
    for part in (crowd[:6], crowd[6:]):
        hq.fleet.hear(lab.id, Members(tuple(part)))
    assert len(hq.fleet.members) == 2 + MOST_NEW
    hq.fleet.review()
    assert len(hq.fleet.members) == 2 + MOST_NEW
    later = time.monotonic() + 61.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    hq.fleet.review()
    assert {one.id for one in crowd} <= set(hq.fleet.members)
    net.restart(hq)
    assert {one.id for one in crowd} <= set(hq.fleet.members)


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


def test_the_largest_fleet_that_members_can_make_is_loaded_again(tmp_path: Path) -> None:
    address, name = '"' * (LONGEST_ADDRESS - 6) + ":65535", "\N{GRINNING FACE}" * 79
    others = tuple(
        Other(
            f"{n:064x}", name, MOST_REVISIONS - 1, (address,) * (0 if n % 2 == 0 else MOST_ADDRESSES),
            (bytes(LARGEST_CERT),) * MOST_CERTS, n % 2 == 0, True, MOST_REVISIONS,
        )
        for n in range(MOST_MEMBERS + MOST_REMOVED)
    )  # fmt: skip
    size = len(msgspec.toml.encode(Saved(Self("", "", 1), member=others[:16]))) / 16 * len(others)
    assert size < fleetfile.LARGEST


def test_a_file_that_would_not_be_loaded_again_is_not_written(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq = net["hq"]
    path = hq.directory / "fleet.toml"
    before = path.read_bytes()
    monkeypatch.setattr(fleetfile, "LARGEST", len(before))
    hq.move("a-longer-name-than-before.example.com:2425")
    assert "too large to be kept" in hq.fleet.trouble
    assert path.read_bytes() == before
    net.restart(hq)
    assert hq.fleet.problem == ""


@pytest.mark.parametrize(
    ("file", "damage", "why"),
    [
        ("fleet.toml", lambda text: text[: len(text) // 2], "damaged"),
        ("fleet.toml", lambda text: text.replace("revision = ", "revision = x"), "damaged"),
        ("fleet.toml", lambda text: text.replace('certs = [\n    "MII', 'certs = [\n    "AAA'), "damaged"),
        ("fleet.toml", lambda text: text.replace("version = 1", "version = 2"), "newer camrelay"),
        ("fleet.toml", lambda text: text.replace('id = "', 'id = "0', 1), "of another relay"),
        ("fleet.toml", lambda text: "x = 1", "damaged"),
        ("fleet.toml", lambda text: "#" * (fleetfile.LARGEST + 1), "too large"),
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
