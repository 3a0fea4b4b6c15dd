"""Open and closed TCP ports of our own."""

from __future__ import annotations

import socket

import pytest

from camrelay.daemon.probes.tcp import tcp_fact


@pytest.mark.real_time
async def test_an_open_port_is_left_at_once_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        fact = await tcp_fact("127.0.0.1", port)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""
    assert (fact.check, fact.outcome, fact.detail["port"]) == ("tcp", "open", port)
    assert 0 <= fact.detail["ms"] < 3000


@pytest.mark.real_time
async def test_a_closed_port_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fact = await tcp_fact("127.0.0.1", port, check="tcp-out")
    assert (fact.check, fact.outcome) == ("tcp-out", "refused")
    assert fact.detail == {"port": port, "by": "127.0.0.1"}


@pytest.mark.real_time
async def test_an_address_of_nobody_is_unreachable() -> None:
    assert (await tcp_fact("255.255.255.255", 2425)).outcome == "unreachable"
