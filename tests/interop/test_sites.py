"""Three sites without any relay: apart for broadcasts, joined for everything else, by lines that can be bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .clients import Iptux, build_engine
from .rig import stays
from .sites import UDP, Sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Measure

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def whole_sites(bad_lines: None) -> Iterator[Sites]:
    """Not those where the fleet runs."""
    sites = Sites()
    yield sites
    sites.close()


@pytest.fixture
def sites(whole_sites: Sites) -> Sites:
    whole_sites.restore()
    return whole_sites


@pytest.fixture
def start(sites: Sites) -> Iterator[Callable[[str, str], Iptux]]:
    build_engine()
    clients: list[Iptux] = []

    def one(box: str, name: str) -> Iptux:
        clients.append(Iptux(sites[box], name))
        return clients[-1].ready()

    yield one
    for client in clients:
        client.close()


def test_sites_are_apart_but_clients_reach_each_other(
    sites: Sites,
    start: Callable[[str, str], Iptux],
    some_file: Path,
    tmp_path: Path,
    measure: Measure,
) -> None:
    sites.lines["2"].set(delay=0.05)
    alice, bob, carol = start("c11", "alice"), start("c12", "bob"), start("c21", "carol")
    alice.wait_listed(bob)
    stays(lambda: carol.address not in alice.listed(), 0.3, "no broadcast leaves a site")
    assert not sites.capture.all(wire="1", source=carol.address)

    asked = alice.do("detect", to=carol.address)
    measure(
        "listed over a line of 50 ms after a direct question", alice.wait_listed(carol) - asked, at_most=0.3
    )
    alice.say(carol, "over the line")
    assert alice.take_file(carol, some_file, tmp_path / "carol").read_bytes() == some_file.read_bytes()
    passed = list(sites.backbone())
    assert any(b"over the line" in each.data for each in passed if each.protocol == UDP), "core hears them"
    assert sum(len(each.data) for each in passed if each.protocol != UDP) >= some_file.stat().st_size


def test_cut_line_parts_one_site_only(sites: Sites, start: Callable[[str, str], Iptux]) -> None:
    alice, carol, erin = start("c11", "alice"), start("c21", "carol"), start("c31", "erin")
    sites.lines["2"].cut()
    for other in (carol, erin):
        alice.do("detect", to=other.address)
    alice.wait_listed(erin)
    stays(lambda: carol.address not in alice.listed(), 0.3, "nothing passes a cut line")
    sites.lines["2"].mend()
    alice.do("detect", to=carol.address)
    alice.wait_listed(carol)
