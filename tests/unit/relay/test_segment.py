"""Which segment an address lives in: the longest prefix over what is ours and what is configured."""

from __future__ import annotations

import pytest

from camrelay.relay.outputs import Interface
from camrelay.relay.segment import MAX_PIECES, Segments, expand


def card(address: str, bits: int = 24, index: int = 2, also: tuple[str, ...] = ()) -> Interface:
    from ipaddress import IPv4Interface

    network = IPv4Interface(f"{address}/{bits}").network
    return Interface(index, f"eth{index}", address, str(network), str(network.broadcast_address), also)


def name(segments: Segments, address: str) -> str | None:
    segment = segments.of(address)
    return segment.name if segment else None


def test_wildcards_become_1_to_254_and_single_addresses_gather() -> None:
    found = expand(["192.168.1.*", "10.1.5.20", "10.1.5.9", "192.168.1.7"])
    assert found["192.168.1.*"] == tuple(f"192.168.1.{n}" for n in range(1, 255))
    assert found["10.1.5.*"] == ("10.1.5.20", "10.1.5.9")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.1.9", "10.1.1.0/24"),
        ("10.1.7.9", "10.1.7.*"),
        ("10.9.3.9", "10.9.3.*"),
        ("10.1.1.2", None),  # ours
        ("10.1.1.0", None),
        ("10.1.1.255", None),
        ("10.1.7.255", None),
        ("192.0.2.1", None),
    ],
)
def test_an_address_lives_in_one_segment_or_is_nobodys(address: str, expected: str | None) -> None:
    segments = Segments([card("10.1.1.2")], ["10.1.7.*"], ["10.9.0.0/16"])
    assert name(segments, address) == expected
    assert name(segments, address) == expected


def test_the_same_list_works_on_every_box() -> None:
    remote = ["10.1.1.*", "10.1.2.*", "10.1.3.20"]
    one = Segments([card("10.1.1.2")], remote)
    two = Segments([card("10.1.2.2"), card("10.1.3.20", index=3)], remote)
    assert [s.name for s in one.remote] == ["10.1.2.*", "10.1.3.*"]
    assert [s.name for s in two.remote] == ["10.1.1.*"]


def test_a_remote_segment_inside_a_wider_network_of_ours_is_ours() -> None:
    segments = Segments([card("10.1.4.2", 22)], ["10.1.5.*", "10.1.8.*"])
    assert [s.name for s in segments.remote] == ["10.1.8.*"]
    assert name(segments, "10.1.5.9") == "10.1.4.0/22"


def test_of_a_remote_segment_that_is_partly_ours_the_rest_is_swept() -> None:
    segments = Segments([card("10.1.1.2", 25)], ["10.1.1.*"])
    (remote,) = segments.remote
    assert remote.addresses == tuple(f"10.1.1.{n}" for n in range(128, 255))
    assert name(segments, "10.1.1.9") == "10.1.1.0/25"
    assert name(segments, "10.1.1.200") == "10.1.1.*"


def test_a_remote_address_that_is_our_own_is_not_swept() -> None:
    segments = Segments([card("10.1.1.2", 32)], ["10.1.1.*"])
    assert "10.1.1.2" not in segments.remote[0].addresses
    assert len(segments.remote[0].addresses) == 253


def test_several_networks_on_one_card_are_segments_of_their_own() -> None:
    segments = Segments([card("10.1.1.2"), card("10.1.9.2")], [])
    assert [s.name for s in segments.local] == ["10.1.1.0/24", "10.1.9.0/24"]
    assert segments.of("10.1.1.9") is not segments.of("10.1.9.9")


def test_cable_and_wifi_on_one_network_are_one_segment_heard_on_both() -> None:
    segments = Segments([card("10.1.1.2", index=2), card("10.1.1.3", index=3)], [])
    (segment,) = segments.local
    assert segment.indexes == {2, 3}
    assert name(segments, "10.1.1.3") is None


def test_a_second_network_on_the_wire_belongs_to_the_segment_and_takes_no_directed_broadcast() -> None:
    segments = Segments([card("10.1.1.2", also=("10.1.9.0/24",))], ["10.1.9.*"])
    assert segments.of("10.1.9.9") is segments.of("10.1.1.9")
    assert segments.remote == []
    assert segments.local[0].broadcast == "255.255.255.255"


def test_a_pointed_client_lives_in_the_piece_it_speaks_from() -> None:
    segments = Segments([], [], ["10.0.0.0/8"])
    assert segments.of("10.4.5.6") is segments.of("10.4.5.7")
    assert [s.name for s in segments.all] == ["10.4.5.*"]
    assert segments.named("10.4.5.*") is segments.of("10.4.5.6")


def test_empty_pieces_make_room_for_others() -> None:
    segments = Segments([], [], ["10.0.0.0/8"])
    for n in range(MAX_PIECES * 3):
        assert name(segments, f"10.{n >> 8}.{n & 255}.1") is not None
    assert len(segments.all) <= MAX_PIECES


@pytest.mark.parametrize("text", ["10.1.7.*", "10.1.7.20"])
def test_an_admin_names_a_segment_or_an_address_of_it(text: str) -> None:
    segment = Segments([], ["10.1.7.*"]).named(text)
    assert segment is not None
    assert segment.name == "10.1.7.*"
    assert Segments([], ["10.1.7.*"]).named("10.1.8.20") is None
