"""Relays of a fleet that are killed, run out of disk, lose their database, or are not who they say."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon.peerkey import PeerKey

from .fleet import RELAYS, clients_of, undisturbed
from .rig import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Measure
    from .fleet import Fleet, Somebody

pytestmark = pytest.mark.interop

CROWD = 100
SOME = 2000  # bytes of a sync that takes 10,000
TOLD = 40.0  # seconds: a connection whose hello the slow line delays by 10 s is given up, once or twice under load


@pytest.mark.parametrize("victim", ["r1", "r2"])
def test_kill_in_the_middle_of_a_sync(fleet: Fleet, measure: Measure, victim: str) -> None:
    """r2 was away while everybody changed, and is told over a slow line; then who tells or who is told is killed."""
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    crowd = fleet.crowd("c13", CROWD)
    fleet.agree([alice, carol, *crowd.users])
    wait_until(lambda: set(crowd.users) <= set(carol.listed().items()), 5, "carol lists all")

    fleet["r2"].kill()
    crowd.rename()
    everybody: list[Somebody] = [alice, carol, *crowd.users]
    fleet.agree(everybody, ["r1"])
    fleet.written("r1")  # a crowd answers nobody: an old name from r1's disk would stay
    fleet.sites.lines["2"].set(rate=24e3, delay=0.05)
    fleet["r2"].start()
    fleet["r2"].ready()
    wait_until(lambda: fleet.peers("r2")["r1"]["received"] > SOME, TOLD, "r1 tells r2")
    # On a loaded machine the look itself may take longer than the rest of the sync: then it is killed right after it.
    where = "in the middle of" if fleet.peers("r2")["r1"]["synced"] is None else "right after"
    killed = fleet[victim].kill()
    fleet.start(victim)
    fleet.sites.lines["2"].perfect()
    equal = fleet.agree(everybody, within=15)
    measure(f"all rosters equal after kill -9 of {victim} {where} a sync", equal - killed)
    wait_until(
        lambda: set(crowd.users) <= set(carol.listed().items()), 5, "carol lists all by their new names"
    )
    for client in (alice, carol):
        undisturbed(client, [alice, carol], client.started)
        assert not client.events("gone")


def test_corrupted_database_is_moved_aside_and_filled_again_by_peers(fleet: Fleet, measure: Measure) -> None:
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    fleet.agree([alice, carol, erin])
    r2 = fleet["r2"]
    r2.stop()
    (r2.state / "roster.db").write_bytes(b"no database " * 4096)
    began = r2.start()
    r2.ready()
    full = fleet.agree([alice, carol, erin])
    measure("roster full again after a damaged database", full - began, at_most=5)
    aside = [
        path.name
        for path in r2.state.iterdir()
        if path.name.startswith("roster.db") and "damaged" in path.name
    ]
    assert aside, f"moved aside: {list(r2.state.iterdir())}"
    wait_until(lambda: "roster database damaged" in r2.log.read_text(), 3, "the log says so")
    undisturbed(alice, [carol, erin], began)
    undisturbed(carol, [alice, erin], began)


def test_full_disk_stops_nobody(fleet: Fleet, measure: Measure) -> None:
    r3 = fleet["r3"]
    fleet.spoil("r3")
    r3.stop()
    kept = r3.folder / "kept"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", r3.state], check=True)
    try:
        for path in kept.iterdir():
            (r3.state / path.name).write_bytes(path.read_bytes())
            (r3.state / path.name).chmod(0o600)
        fleet.start("r3")
        fleet.linked(*RELAYS)
        alice = fleet.iptux("c11", "alice")
        fill(r3.state / "ballast")
        erin = fleet.iptux("c31", "erin")
        measure(
            "listed elsewhere although the disk is full", alice.wait_listed(erin) - erin.started, at_most=1
        )
        erin.wait_listed(alice)
        problem = wait_until(lambda: r3.status()["database"]["error"], 10, "status says that it cannot write")
        assert "full" in problem
        (r3.state / "ballast").unlink()
        wait_until(lambda: not r3.status()["database"]["error"], 15, "it writes when there is room again")
        assert r3.status()["database"]["users"] >= 1
        fleet.agree([alice, erin])
        erin.stop()
        fleet.agree([alice])
    finally:
        r3.kill()
        subprocess.run(["umount", r3.state], check=True)


def fill(path: Path) -> None:
    """A file that takes all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_relay_with_another_key_is_not_believed(fleet: Fleet) -> None:
    """Somebody else at r3's address: neither those who dial it nor those whom it dials take its word."""
    fleet.spoil("r3")
    alice = fleet.iptux("c11", "alice")
    r3 = fleet["r3"]
    r3.kill()
    for path in r3.state.iterdir():
        path.unlink()
    r3.start()
    r3.ready()
    r3.invite()  # now it listens for relays, with a key that nobody knows
    erin = fleet.iptux("c31", "erin")
    # Before it had invited anybody it refused everybody.
    wait_until(lambda: _refused_for_its_key(fleet), 30, "r1 has seen that this is not r3")
    assert not fleet.peers("r3")
    assert erin.address in clients_of(r3)
    assert erin.address not in alice.listed(), "nobody believes what it tells"


def _refused_for_its_key(fleet: Fleet) -> bool:
    row = fleet.peers("r1")["r3"]
    return row["state"] == "refused" and "has another key" in row["why"]


def test_unknown_key_gets_no_session(fleet: Fleet, tmp_path: Path) -> None:
    r1 = fleet["r1"]
    stranger = PeerKey.load_or_create(tmp_path)
    before = r1.status()["counters"]

    def knock() -> bytes:
        with socket.create_connection((r1.address, 2425), timeout=5) as plain:
            line = stranger.client_context().wrap_socket(plain)
            with line:
                line.sendall(b"\0\0\0\1\x90")
                try:
                    return line.recv(4096)
                except OSError:
                    return b""

    heard = fleet.sites["c32"].namespace.call(knock)
    assert heard == b"", "not one byte for whom nobody knows"
    after = r1.status()["counters"]
    new = {cause: number for cause, number in after.items() if number > before.get(cause, 0)}
    assert new["peer connections refused"] == 1
