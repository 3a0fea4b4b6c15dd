"""The control socket, both sides of it: every request, every way a client can misbehave."""

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from camrelay.daemon import client, control
from camrelay.daemon.answers import Configuration, Database, Request, Sockets, Status
from camrelay.errors import ConfigError, ControlError, NotRunning, StartError, UsageError
from camrelay.relay.snapshot import Snapshot, UserRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


def row(number: int) -> UserRow:
    return UserRow(
        logon=f"user{number}", host="pc", nick="田中", group="g", address="10.0.0.1", port=2425,
        segment="10.0.0.0/24", state="online", home=True, kind="windows", version="", charset="utf-8",
        away=False, joined=1.0, last_seen=2.0,
    )  # fmt: skip


class FakeAnswers:
    """What a service would answer; a sweep of 100 addresses takes one look per 40."""

    def __init__(self, users: int = 3) -> None:
        self.rows = [row(n) for n in range(users)]
        self.left = 0
        self.lost = False  # does the end of the pass never come?
        self.remote = ["10.2.0.*"]
        self.problem: str | None = None

    def status(self) -> Status:
        return Status(
            "1", 7, 1.0, Snapshot("hq", "camrelay", True, [], 1, 2, 0, 0, 0, 0), Sockets("own", 1, 2, 3),
            Database("x", 0, None, None), Configuration("", 0.0, None), ["a warning"], {"lost": 1},
        )  # fmt: skip

    def users(self) -> list[UserRow]:
        return self.rows

    def sweep(self, segments: Sequence[str]) -> control.Pass:
        if "1.1.1.*" in segments:
            raise UsageError("unknown segment 1.1.1.*")
        self.left = 100
        self.asked = control.Pass(100, self.remote)
        return self.asked

    def sweeping(self) -> int:
        if self.left == 0 and not self.lost:
            self.asked.done("10.2.0.*", 7)
        self.left = max(0, self.left - 40)
        return self.left

    def reload(self) -> None:
        if self.problem:
            raise ConfigError(self.problem)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "control.sock")


@pytest.fixture
def served(path: str) -> Callable[..., AbstractAsyncContextManager[control.Control]]:
    @asynccontextmanager
    async def serve(
        answers: FakeAnswers | None = None, may_change: Container[int] | None = None
    ) -> AsyncIterator[control.Control]:
        made = control.Control(answers or FakeAnswers(), may_change)
        listener, warnings = control.listen(path)
        assert warnings == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.serve, listener)
            yield made
            nursery.cancel_scope.cancel()

    return serve


async def ask(path: str, request: dict[str, Any]) -> list[tuple[str, Any]]:
    return await trio.to_thread.run_sync(lambda: list(client.ask(path, request)))


async def line_of(stream: trio.SocketStream) -> dict[str, Any]:
    """The next line; nothing but it may have been sent yet."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some(65536)
    return dict(json.loads(line))


async def raw(path: str, data: bytes) -> dict[str, Any]:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(data)
        return dict(json.loads(b"".join([piece async for piece in stream])))


@pytest.mark.real_time
async def test_status_is_one_result(path: str, served: Any) -> None:
    async with served():
        ((what, status),) = await ask(path, {"do": "status"})
    assert (what, status["relay"]["name"], status["counters"]) == ("result", "hq", {"lost": 1})


@pytest.mark.real_time
@pytest.mark.parametrize("count", [0, 1, control.ROWS_AT_ONCE, 2 * control.ROWS_AT_ONCE + 1])
async def test_users_come_whole_however_many(path: str, served: Any, count: int) -> None:
    async with served(FakeAnswers(count)):
        ((_, rows),) = await ask(path, {"do": "users"})
    assert [r["logon"] for r in rows] == [f"user{n}" for n in range(count)]


async def test_watch_gives_the_roster_and_then_every_change_until_the_client_closes(
    path: str, served: Any
) -> None:
    async with served() as made:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"v":1,"do":"users","watch":true}\n')
            assert len((await line_of(stream))["result"]) == 3
            made.publish({"event": "left", "user": row(1)})
            event = (await line_of(stream))["event"]
            assert (event["event"], event["user"]["logon"]) == ("left", "user1")
        await trio.testing.wait_all_tasks_blocked()
        assert not made.watched
    assert made.counters == {}


async def test_sweep_shows_its_progress_and_ends_with_the_result(path: str, served: Any) -> None:
    async with served(), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"sweep"}\n')
        lines = b"".join([piece async for piece in stream]).splitlines()
    events, result = [json.loads(line)["event"] for line in lines[:-1]], json.loads(lines[-1])["result"]
    assert [event["left"] for event in events] == [60, 20, 0, 0]
    assert [event["answered"] for event in events] == [0, 0, 0, 7]
    assert result == {"asked": 100, "answered": 7, "seconds": 2.0}


async def test_a_pass_whose_segment_is_no_longer_configured_ends_too(path: str, served: Any) -> None:
    answers = FakeAnswers()
    answers.lost = True
    async with served(answers), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"sweep"}\n')
        lines = b"".join([piece async for piece in stream]).splitlines()
    assert json.loads(lines[-1])["result"]["answered"] == 0


async def test_without_remote_segments_a_sweep_is_over_at_once(path: str, served: Any) -> None:
    answers = FakeAnswers()
    answers.remote = []
    async with served(answers), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"sweep"}\n')
        assert (await line_of(stream))["result"]["answered"] == 0


@pytest.mark.real_time
async def test_an_unknown_segment_is_a_usage_error_for_the_client(path: str, served: Any) -> None:
    async with served():
        with pytest.raises(ControlError, match=r"unknown segment 1\.1\.1\.\*") as caught:
            await ask(path, {"do": "sweep", "segments": ["1.1.1.*"]})
    assert caught.value.exit_code == 2


@pytest.mark.real_time
async def test_reload_says_what_is_wrong_in_one_line(path: str, served: Any) -> None:
    answers = FakeAnswers()
    async with served(answers):
        assert await ask(path, {"do": "reload"}) == [("result", {})]
        answers.problem = "x.toml:1: one\nx.toml:2: two"
        with pytest.raises(ControlError, match=r"^x\.toml:1: one x\.toml:2: two$") as caught:
            await ask(path, {"do": "reload"})
    assert caught.value.exit_code == 2


@pytest.mark.real_time
@pytest.mark.parametrize("what", ["sweep", "reload"])
async def test_who_may_only_look_may_not_change(path: str, served: Any, what: str) -> None:
    async with served(may_change=frozenset()) as made:
        assert (await ask(path, {"do": "status"}))[0][0] == "result"
        with pytest.raises(ControlError, match=f"not allowed: {what} is for root"):
            await ask(path, {"do": what})
    assert made.counters == {"control requests not allowed": 1}


@pytest.mark.real_time
@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"v":1}\n', b'{"v":2,"do":"status"}\n',
        b'{"v":1,"do":"fly"}\n', b'{"v":1,"do":"status","extra":1}\n',
        b'{"v":1,"do":"sweep","segments":"all"}\n', b'"' + b"x" * 70_000 + b'"\n',
    ],
)  # fmt: skip
async def test_a_request_that_makes_no_sense_is_refused_and_counted(
    path: str, served: Any, line: bytes
) -> None:
    async with served() as made:
        answer = await raw(path, line)
    assert (answer["ok"], answer["exit"]) == (False, 2)
    assert "\n" not in answer["error"]
    assert made.counters == {"control requests malformed": 1}


async def test_a_client_that_says_nothing_is_let_go_after_ten_seconds(path: str, served: Any) -> None:
    async with served():
        began = trio.current_time()
        async with await trio.open_unix_socket(path) as stream:
            assert b"within 10 s" in await stream.receive_some(1000)
    assert trio.current_time() - began == pytest.approx(control.FIRST_LINE_WITHIN)


async def test_a_client_that_only_looks_whether_somebody_listens_is_not_counted(
    path: str, served: Any
) -> None:
    async with served() as made:
        await (await trio.open_unix_socket(path)).aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert made.counters == {}


async def test_the_seventeenth_client_is_told_to_come_back(path: str, served: Any) -> None:
    async with served() as made, AsyncExitStack() as stack:
        for _ in range(control.MOST_CLIENTS):
            await stack.enter_async_context(await trio.open_unix_socket(path))
        await trio.testing.wait_all_tasks_blocked()
        stream = await stack.enter_async_context(await trio.open_unix_socket(path))
        assert b"busy" in await stream.receive_some(1000)
    assert made.counters == {"control clients refused: too many at once": 1}


async def test_the_last_places_are_for_those_who_may_change(path: str, served: Any) -> None:
    may_change: set[int] = set()
    async with served(may_change=may_change) as made, AsyncExitStack() as stack:
        for _ in range(control.MOST_CLIENTS - control.KEPT_CLIENTS):
            await stack.enter_async_context(await trio.open_unix_socket(path))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(control.MOST_CLIENTS):  # who is refused neither takes a place nor frees one
            refused = await stack.enter_async_context(await trio.open_unix_socket(path))
            assert b"busy" in await refused.receive_some(1000)
        may_change.add(os.geteuid())
        assert (await raw(path, b'{"v":1,"do":"status"}\n'))["ok"]
    assert made.counters == {"control clients refused: too many at once": control.MOST_CLIENTS}


@pytest.mark.real_time
async def test_who_asks_is_not_what_the_request_says(path: str, served: Any) -> None:
    async with served(may_change=frozenset()):
        answer = await raw(path, b'{"v":1,"do":"reload","trusted":true}\n')
    assert "not allowed: reload is for root" in answer["error"]


async def test_a_watcher_that_does_not_read_is_dropped_and_costs_nobody_anything(
    path: str, served: Any
) -> None:
    async with served() as made, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"users","watch":true}\n')
        await trio.testing.wait_all_tasks_blocked()
        for number in range(control.EVENTS_BEHIND + 2):  # one is taken at once
            made.publish({"event": "joined", "user": row(number)})
        assert not made.watched
    assert made.counters["control clients dropped: too slow"] >= 1


async def test_a_client_that_leaves_in_the_middle_of_its_answer_is_counted(path: str, served: Any) -> None:
    async with served(FakeAnswers(20_000)) as made:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"v":1,"do":"users"}\n')
            await stream.receive_some(10)
        await trio.testing.wait_all_tasks_blocked()
    assert made.counters == {"control clients gone before their answer": 1}


def test_the_socket_is_for_owner_and_group_only(path: str) -> None:
    listener, _ = control.listen(path)
    with listener:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


def test_a_socket_left_behind_is_replaced_and_a_living_one_is_not(path: str) -> None:
    listener, _ = control.listen(path)
    listener.close()
    again, _ = control.listen(path)
    with again, pytest.raises(StartError, match="another camrelay answers at"):
        control.listen(path)


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StartError, match="something else is there"):
        control.listen(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"^control socket .*: file exists: "):
        control.listen(tmp_path / "file" / "control.sock")


def test_nobody_at_the_socket_is_not_running_with_the_remedy(path: str) -> None:
    with pytest.raises(NotRunning, match=r"no daemon answers at .*: start it with") as caught:
        client.ask(path, {"do": "status"})
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "answer", [b"", b'{"v":1,"ok":true,"result":[', b"HTTP/1.1 400\n", b'{"v":9,"ok":true}\n', b"[]\n"]
)
def test_nonsense_from_the_daemon_is_a_control_error(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        lines = client.ask(tmp_path / "s", {"do": "status"})
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(answer)
        connection.close()
        with pytest.raises(ControlError):
            list(lines)


# Requests of other parts of the daemon


async def answer_later(request: Request, tell: control.Tell) -> dict[str, str]:
    await trio.sleep(2 * control.SIGN_OF_LIFE + 1)
    return {"peer": request.peer}


async def refuse(request: Request, tell: control.Tell) -> None:
    raise UsageError("no such relay")


@asynccontextmanager
async def serving_more(
    path: str, may_change: frozenset[int] | None = None, more: control.Requests | None = None
) -> AsyncIterator[control.Control]:
    more = more or {"slow": (False, answer_later), "change": (True, refuse), "step": (False, step)}
    made = control.Control(FakeAnswers(), may_change, more)
    listener, _ = control.listen(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listener)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_request_that_takes_long_shows_signs_of_life(path: str) -> None:
    async with serving_more(path), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"slow","peer":"x"}\n')
        lines = [json.loads(line) async for line in _lines(stream)]
    assert [line.get("event") for line in lines] == [{}, {}, None]
    assert lines[-1]["result"] == {"peer": "x"}
    assert control.SIGN_OF_LIFE * 2 < client.PATIENCE


class Steps(msgspec.Struct, forbid_unknown_fields=True):
    most: int


async def step(request: Request, tell: control.Tell) -> str:
    for number in range(request.args(Steps).most):
        await tell({"step": number})
    return "done"


async def test_what_is_told_while_it_works_comes_in_order_before_the_result(path: str) -> None:
    async with serving_more(path), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"step","more":{"most":3}}\n')
        lines = [json.loads(line) async for line in _lines(stream)]
    assert [line.get("event") for line in lines] == [{"step": 0}, {"step": 1}, {"step": 2}, None]
    assert lines[-1]["result"] == "done"


@pytest.mark.real_time
@pytest.mark.parametrize("more", [{}, {"most": "x"}, {"most": 1, "least": 0}, [1], 7])
async def test_arguments_that_do_not_fit_are_one_clear_error(path: str, more: Any) -> None:
    async with serving_more(path):
        with pytest.raises(ControlError, match="step: ") as caught:
            await ask(path, {"do": "step", "more": more})
    assert caught.value.exit_code == 2


async def test_what_nobody_waits_for_any_more_ends_at_once(path: str) -> None:
    ended = trio.Event()

    async def work_for_ever(request: Request, tell: control.Tell) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving_more(path, more={"endless": (False, work_for_ever)}):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"v":1,"do":"endless"}\n')
            await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await ended.wait()
        assert trio.current_time() == began


async def _lines(stream: trio.SocketStream) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line


@pytest.mark.real_time
async def test_their_errors_and_limits_are_those_of_all_requests(path: str) -> None:
    async with serving_more(path):
        with pytest.raises(ControlError, match="no such relay") as caught:
            await ask(path, {"do": "change"})
        assert caught.value.exit_code == 2
    async with serving_more(path, frozenset()) as made:
        with pytest.raises(ControlError, match="not allowed: change is for root"):
            await ask(path, {"do": "change"})
    assert made.counters == {"control requests not allowed": 1}


async def test_a_client_that_goes_while_it_waits_is_let_go(path: str) -> None:
    async with serving_more(path) as made:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"v":1,"do":"slow"}\n')
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(3 * control.SIGN_OF_LIFE)
    assert made.counters == {"control clients gone before their answer": 1}
