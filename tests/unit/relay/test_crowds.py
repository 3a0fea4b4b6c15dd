"""A floor that starts at once: one list by broadcast serves all, and nobody is left out."""

from __future__ import annotations

from tests.world import Client, Iptux, Plain, RelayNode, Windows, World, segment_of


def floor(external: int) -> tuple[World, RelayNode]:
    """A relay between 1F, where nobody is yet, and 2F, where everybody is."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    for i in range(external):
        Iptux(world, f"10.1.2.{10 + i}", f"there{i}", logon=f"t{i}").alive = True
    relay.start()
    world.until(lambda: len(relay.users()) == external, within=5)
    world.run(20)
    return world, relay


def everything_of_2f(client: Client) -> int:
    return sum(segment_of(address) == "10.1.2" for address in client.listed)


def test_a_floor_of_100_starting_within_a_second_is_served_within_four() -> None:
    world, _ = floor(100)
    begun = world.now
    here = [
        (Windows if i % 2 else Iptux)(world, f"10.1.1.{10 + i}", f"here{i}", logon=f"h{i}")
        for i in range(100)
    ]
    for i, client in enumerate(here):
        world.after(i * 0.01, client.start)
    world.run(4)
    assert [everything_of_2f(client) for client in here] == [100] * 100
    said = [s for s in world.wire if s.time >= begun and s.announces and segment_of(s.source) == "10.1.2"]
    assert len(said) < 100 * 100 / 10, "one by one it would be 10,000"


def test_a_client_that_ignores_broadcasts_gets_its_own_in_a_crowd() -> None:
    world, _ = floor(50)
    here: list[Client] = [Iptux(world, f"10.1.1.{10 + i}", f"here{i}", logon=f"h{i}") for i in range(10)]
    here.append(Plain(world, "10.1.1.99", "old"))
    for client in here:
        client.start()
    world.until(lambda: all(everything_of_2f(c) == 50 for c in here), within=2)


def test_who_comes_while_the_crowd_is_served_is_not_left_out() -> None:
    world, _ = floor(200)
    for i in range(10):
        Iptux(world, f"10.1.1.{10 + i}", f"here{i}", logon=f"h{i}").start()
    world.run(0.3)
    late = Iptux(world, "10.1.1.99", "late")
    late.start()
    world.until(lambda: everything_of_2f(late) == 200, within=2)
