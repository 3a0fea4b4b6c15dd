"""Membership by gossip: whatever happens in whatever order, those who can talk end up knowing the same fleet."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from camrelay.daemon import rotating
from camrelay.errors import CamrelayError
from tests.fleets import Net

if TYPE_CHECKING:
    from tests.fleets import Box

# in memory where that is possible: every change is fsynced
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
NAMES = "abcde"
WHO = st.sampled_from(NAMES)
HARMLESS = (
    st.tuples(st.sampled_from(["join", "link", "cut"]), WHO, WHO)
    | st.tuples(st.sampled_from(["rotate", "restart", "move"]), WHO, st.none())
    | st.tuples(st.just("hear"), WHO, st.integers(1, 3))
)
REMOVAL = st.tuples(st.just("remove"), WHO, WHO)


def act(net: Net, what: str, who: str, more: object) -> None:
    """Let something happen, if it can."""
    box = net[who]
    other = net[more] if isinstance(more, str) else box
    try:
        if what == "hear":
            if box.inbox:
                box.hear(times=int(str(more)))
        elif what == "move":
            box.move(f"{net.now:.0f}.example.com:2425")
        elif what == "restart":
            net.restart(box)
        elif what == "rotate":
            net.rotate(box)
        elif what == "remove" and other.id in box.known():
            net.remove(other.id, box)
        elif what == "join" and other is not box:
            net.join(box, other)
        elif what == "link" and other is not box:
            net.link(box, other)
        elif what == "cut":
            net.cut(box, other)
    except CamrelayError:
        pass  # a person is told that it cannot be done
    except Exception as error:
        error.add_note(f"{what} {who} {more}")
        raise
    net.now += 1


def agree(boxes: list[Box]) -> None:
    """Those who have a link know the same fleet, down to the last word of whoever is there to say it."""
    for box in boxes:
        for other in box.linked.values():
            assert set(box.known()) == set(other.known()), (box.name, other.name)
            for owner in boxes:
                if owner in (box, other) or {box.id, other.id} <= set(owner.linked):
                    assert box.known()[owner.id] == other.known()[owner.id] == owner.fleet.me


def test_a_newcomer_learns_a_new_key_from_others_while_it_has_no_link_to_its_owner(tmp_path: Path) -> None:
    """Its inviter was cut off when the key changed, and was removed before it came back."""
    net = Net(tmp_path, "abcn")
    a, b, c, new = (net[name] for name in "abcn")
    for box in (b, c):
        net.join(box, a)
    net.settle()
    net.cut(c, a)
    net.rotate(a)
    while a.inbox or b.inbox:
        for box in (a, b):
            if box.inbox:
                box.hear()
    assert rotating.awaited(a.fleet) == ["c"]
    net.cut(b, a)
    c.inbox.clear()
    net.join(new, c)  # where the first key is all that is known of a
    net.remove(c.id, a)
    a.fleet.review()
    assert not rotating.in_progress(a.fleet)
    while c.inbox or b.inbox:
        for box in (b, c):
            if box.inbox:
                box.hear()
    assert new.id in b.fleet.members
    net.settle()
    assert set(a.known()) == set(b.known()) == set(new.known()) == {a.id, b.id, new.id}
    assert all(len(box.linked) == 2 for box in (a, b, new))


@settings(max_examples=40, deadline=None)
@given(st.lists(HARMLESS, max_size=30))
def test_without_removals_everybody_who_was_invited_is_in_one_fleet(
    steps: list[tuple[str, str, object]],
) -> None:
    with TemporaryDirectory(dir=MEMORY) as directory:
        net = Net(Path(directory), NAMES)
        inside = [net["a"]]
        for name in "bc":
            net.join(net[name], net["a"])
            inside.append(net[name])
        for step in steps:
            act(net, *step)
        for name in "de":
            if not net[name].fleet.members:
                net.join(net[name], net["b"])
        net.now += 7200  # invitations do not keep a rotation waiting any more
        net.settle()
        boxes = list(net.boxes.values())
        if (
            len({frozenset(box.known()) for box in boxes}) == 1
        ):  # d and e may have founded a fleet of their own
            assert all(len(box.linked) == len(NAMES) - 1 for box in boxes)
        agree(boxes)
        assert {box.id for box in inside} <= set(net["a"].known())
        assert not any(rotating.in_progress(box.fleet) for box in boxes), "all have acknowledged"
        assert all(len(net[name].linked) >= 2 for name in "abc")


@settings(max_examples=40, deadline=None)
@given(st.lists(HARMLESS | REMOVAL, max_size=40))
def test_a_removal_is_final_however_late_it_is_heard(steps: list[tuple[str, str, object]]) -> None:
    with TemporaryDirectory(dir=MEMORY) as directory:
        net = Net(Path(directory), NAMES)
        for name in "bcde":
            net.join(net[name], net["a"])
        net.settle()
        for step in steps:
            act(net, *step)
        net.settle()
        boxes = list(net.boxes.values())
        agree(boxes)
        gone = {id_ for box in boxes for id_ in box.fleet.membership.removed}
        for box in boxes:
            assert not set(box.fleet.members) & set(box.fleet.membership.removed)
            if box.linked:
                told = {id_ for other in box.linked.values() for id_ in other.fleet.membership.removed}
                assert not told & set(box.known())
        alive = {box.id for box in boxes if box.fleet.members}
        for box in boxes:
            if box.id in gone:  # it talks to nobody who knows
                assert not any(box.id in other.fleet.membership.removed for other in box.linked.values())
            assert box.fleet.problem == box.fleet.trouble == ""
            again = box.known() if box.id else {}, dict(box.fleet.membership.removed)
            net.restart(box)
            assert again == (box.known() if box.id else {}, box.fleet.membership.removed)
        assert all(len(id_) == 64 for id_ in alive)
