"""Traces among strangers: what forged datagrams, a hostile member or a hostile local user cannot do by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon import control
from tests.unit.daemon.test_control import FakeAnswers, raw

if TYPE_CHECKING:
    from pathlib import Path

DEEP = b"[" * 30_000 + b"]" * 30_000


@pytest.mark.real_time
@pytest.mark.parametrize("more", [DEEP, b"[" * 500 + b"]" * 500, b'{"a":' + DEEP + b"}"])
async def test_deep_json_at_the_control_socket_ends_nothing(tmp_path: Path, more: bytes) -> None:
    async def host(request: Any, tell: Any) -> object:
        return request.args(dict[str, Any])

    made = control.Control(FakeAnswers(), None, {"host": (False, host)})
    path = str(tmp_path / "control.sock")
    listener, _ = control.listen(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listener)
        answer = await raw(path, b'{"v":1,"do":"host","more":' + more + b"}\n")
        assert not answer["ok"]
        assert answer["exit"] == 2
        assert (await raw(path, b'{"v":1,"do":"status"}\n'))["ok"]
        nursery.cancel_scope.cancel()


@pytest.mark.real_time
@pytest.mark.parametrize("result", ["\udcff", {"name": "\ud800"}, object()])
async def test_what_cannot_be_encoded_ends_one_answer_and_not_the_daemon(
    tmp_path: Path, result: object
) -> None:
    async def host(request: Any, tell: Any) -> object:
        await trio.lowlevel.checkpoint()
        return result

    made = control.Control(FakeAnswers(), None, {"host": (False, host)})
    path = str(tmp_path / "control.sock")
    listener, _ = control.listen(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listener)
        answer = await raw(path, b'{"v":1,"do":"host"}\n')
        assert not answer["ok"]
        assert "bug" in answer["error"]
        assert (await raw(path, json.dumps({"v": 1, "do": "status"}).encode() + b"\n"))["ok"]
        nursery.cancel_scope.cancel()
