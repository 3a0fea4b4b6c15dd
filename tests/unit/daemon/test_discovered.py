"""Hosts that searches added: kept over restarts, bounded, merged with the configuration, and never lost to damage."""

from __future__ import annotations

import io
import os
import threading
import tomllib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.discovered import FILE, MOST, Discovered, Host
from camrelay.daemon.log import Log
from camrelay.errors import StoreError, UsageError
from camrelay.relay.rules import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = 1_795_000_000.0


def opened(state: Path) -> tuple[Discovered, str]:
    said = io.StringIO()
    log = Log()
    log.open(stream=said, environment={})
    return Discovered.open(state, log, lambda: NOON), said.getvalue()


async def test_what_is_added_is_there_after_a_restart(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    assert await found.add([Host("10.1.5.20", "田中", "windows"), Host("10.1.5.21")]) == 2
    assert await found.add([Host("10.1.5.20", "tanaka", "windows")]) == 0
    again, said = opened(tmp_path)
    assert again.hosts["10.1.5.20"] == Host("10.1.5.20", "tanaka", "windows", "2026-11-18T11:06:40Z")
    assert (list(again.hosts), said, again.problem) == (["10.1.5.20", "10.1.5.21"], "", "")
    assert oct((tmp_path / FILE).stat().st_mode & 0o777) == "0o600"


async def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    await found.add(Host(f"10.1.5.{last}") for last in range(1, 5))
    assert await found.forget(["10.1.5.2", "10.9.9.9"]) == ["10.1.5.2"]
    assert len(opened(tmp_path)[0].hosts) == 3
    assert len(await found.forget(["all"])) == 3
    assert opened(tmp_path)[0].hosts == {}


async def test_only_what_the_configuration_does_not_name_is_merged(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    settings = Settings(remote=("10.1.1.*", "10.1.5.20"))
    assert found.merge(settings) is settings
    await found.add(Host(address) for address in ("10.1.1.7", "10.1.5.20", "10.1.5.21"))
    assert found.merge(settings).remote == ("10.1.1.*", "10.1.5.20", "10.1.5.21")


async def test_no_more_than_so_many(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    many = [Host(f"10.1.{n // 250}.{n % 250 + 1}") for n in range(MOST)]
    assert await found.add(many) == MOST
    with pytest.raises(UsageError, match="name whole segments"):
        await found.add([Host("10.9.9.9")])
    assert len(opened(tmp_path)[0].hosts) == MOST


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"[[host]\n", []),
        (b"\xff\xfe", []),
        (b'host = "x"\n', []),
        (b'[[host]]\naddress = "10.1.5.20"\n[[host]]\naddress = "here"\n', ["10.1.5.20"]),
        (b'[[host]]\naddress = "10.1.5.20"\n[[host]]\naddress = "224.0.0.1"\n', ["10.1.5.20"]),
        (b'[[host]]\naddress = "10.1.5.20"\n[[host]]\nnick = 5\n', ["10.1.5.20"]),
        (b"#" * (1 << 20) + b"#", []),
    ],
)
def test_a_damaged_file_is_put_aside_with_one_warning(tmp_path: Path, raw: bytes, kept: list[str]) -> None:
    (tmp_path / FILE).write_bytes(raw)
    found, said = opened(tmp_path)
    assert (list(found.hosts), found.damaged, said.count("\n")) == (kept, 1, 1)
    assert "discovered hosts file damaged" in said
    (aside,) = tmp_path.glob(f"{FILE}.damaged-*")
    assert aside.read_bytes() == raw
    again, said = opened(tmp_path)
    assert (list(again.hosts), said) == (kept, "")


@given(st.binary(max_size=60) | st.text(alphabet='[host]address="1.\n= ', max_size=60).map(str.encode))
def test_no_file_is_too_strange(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / FILE).write_bytes(raw)
    opened(folder)


async def test_a_disk_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    found, _ = opened(tmp_path / "gone")
    with pytest.raises(StoreError, match="nothing was changed"):
        await found.add([Host("10.1.5.20")])
    assert found.hosts == {}


@pytest.mark.real_time
async def test_a_disk_that_stands_still_stops_nobody_else(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    stuck = tmp_path / f".{FILE}.{os.getpid()}"  # what is written first
    os.mkfifo(stuck)
    others = (
        threading.Event()
    )  # until they went on, nobody reads the pipe: opening it for writing takes that long
    went_on: list[bool] = []

    def mend() -> None:
        went_on.append(others.wait(5))
        os.close(os.open(stuck, os.O_RDONLY))  # each side waits for the other to open it

    async def add() -> None:
        with pytest.raises(StoreError, match="nothing was changed"):  # a pipe is no disk
            await found.add([Host("10.1.5.20")])

    mending = threading.Thread(target=mend, daemon=True)
    mending.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await trio.testing.wait_all_tasks_blocked()
        others.set()
    mending.join(5)
    assert (mending.is_alive(), went_on, found.hosts) == (False, [True], {})


async def test_changes_are_made_one_after_the_other(tmp_path: Path) -> None:
    seconds = iter((3.0, 1.0, 0.0))

    async def aside(write: Callable[..., None], *arguments: object) -> None:
        await trio.sleep(next(seconds))
        write(*arguments)

    found = Discovered(tmp_path / FILE, lambda: NOON, aside)
    async with trio.open_nursery() as nursery:
        for change, wanted in (
            (found.add, [Host("10.1.5.20")]),
            (found.add, [Host("10.1.5.21")]),
            (found.forget, ["10.1.5.20"]),
        ):
            nursery.start_soon(change, wanted)
            await trio.testing.wait_all_tasks_blocked()
    assert list(found.hosts) == list(opened(tmp_path)[0].hosts) == ["10.1.5.21"]


async def test_names_of_strangers_are_harmless_in_the_file(tmp_path: Path) -> None:
    found, _ = opened(tmp_path)
    await found.add([Host("10.1.5.20", 'x"\n[[host]]\x1b' + "y" * 200, "windows")])
    (row,) = tomllib.loads((tmp_path / FILE).read_text())["host"]
    assert (row["address"], len(row["nick"])) == ("10.1.5.20", 80)
    assert row["nick"].isprintable()


def test_an_unreadable_file_is_said_and_left(tmp_path: Path) -> None:
    os.mkdir(tmp_path / FILE)
    found, said = opened(tmp_path)
    assert "is a directory" in found.problem
    assert "not read" in said
