"""What sizes that arrived, or not, and routers' words mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.probes.mtu import SIZES, Sent, TooBig, mtu_fact, mtu_from

ROUTER = "10.1.0.1"
ALL = set(SIZES)


@pytest.mark.parametrize(
    ("errors", "arrived", "outcome", "detail"),
    [
        ([], ALL, "full", {"mtu": 1500}),
        ([], {1500}, "full", {"mtu": 1500}),
        (
            [TooBig(size, 1400, ROUTER) for size in (1500, 1492, 1454)],
            {1400, 1280, 1024, 576},
            "smaller",
            {"mtu": 1400, "by": ROUTER},
        ),
        ([TooBig(1500, 1400, ROUTER)], set(), "smaller", {"mtu": 1400, "by": ROUTER}),
        ([TooBig(1500, 0, ROUTER)], {1400}, "smaller", {"mtu": 1400, "by": ROUTER}),
        ([], {1400, 1280, 1024, 576}, "black-hole", {"passes": 1400, "lost": 1454}),
        ([TooBig(1500, 1492, ROUTER)], {1280, 1024}, "black-hole", {"passes": 1280, "lost": 1400}),
    ],
)
def test_what_arrived_and_what_was_said(
    errors: list[TooBig], arrived: set[int], outcome: str, detail: dict[str, object]
) -> None:
    fact = mtu_from(Sent(1500, ALL, errors), arrived, "mtu-out")
    assert (fact.check, fact.outcome, fact.detail) == ("mtu-out", outcome, detail)


def test_where_nothing_arrives_nothing_is_known() -> None:
    assert mtu_from(Sent(1500, ALL), ()).outcome == "not-checked"
    assert mtu_from(Sent(1500, why="no route"), ()).detail == {"why": "no route"}


def test_our_own_small_interface_is_the_full_size() -> None:
    assert mtu_from(Sent(1400, {1400, 1280}), {1400}).detail == {"mtu": 1400}


@given(
    st.sets(st.integers(0, 70000)),
    st.lists(
        st.builds(TooBig, st.integers(0, 70000), st.integers(0, 2**32 - 1), st.just(ROUTER)), max_size=9
    ),
    st.sets(st.integers(0, 70000)),
)
def test_any_sizes_have_an_outcome(sizes: set[int], errors: list[TooBig], arrived: set[int]) -> None:
    outcome = mtu_from(Sent(1500, sizes, errors), arrived).outcome
    assert outcome in {"full", "smaller", "black-hole", "not-checked"}


async def test_ourselves_have_no_way_to_measure() -> None:
    fact = await mtu_fact("127.0.0.1", 2425, bytes)
    assert (fact.outcome, fact.detail) == ("not-checked", {"why": "is this host itself"})
