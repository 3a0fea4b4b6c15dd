"""trace watch: what is asked, how it is shown, what is saved (tshark reads it), how it ends."""

from __future__ import annotations

import io
import json
import shutil
import signal
import struct
import subprocess
import threading
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.cli import trace_lines, trace_watch
from camrelay.cli.pcapng import Packet, Writer, checksum, ipv4
from camrelay.cli.trace_lines import Screen, hexdump
from camrelay.cli.trace_stream import Stream, interruptible
from camrelay.errors import ControlError
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGAN = {"began": {"codepage": "cp932"}}


def line(data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "time": 1795290980.25, "source": "10.1.0.5", "source_port": 2425, "target": "10.1.0.255",
        "target_port": 2425, "data": b64encode(data).decode(), **more,
    }  # fmt: skip


ENTRY = line(
    build(b"1", 7, b"taro", b"PC-01", Command.BR_ENTRY | Option.CAPUTF8, "田中".encode("cp932"), b"g"),
    broadcast=True, interface="eth0", ttl=64, name="田中", charset="cp932", fate="user joined",
)  # fmt: skip
MESSAGE = line(build(b"1", 8, b"taro", b"PC-01", Command.SENDMSG, b"xx\nxxxxxx"), source_port=2426)
SPOKEN = line(
    build(b"1", 9, b"taro", b"PC-01", Command.BR_ABSENCE, b"Taro"),
    source="10.2.0.7", target="10.1.0.9", out=True, speak_as="花子\x1b[2J", ttl=1,
)  # fmt: skip
ROW = {
    "address": "10.1.0.5", "user": "田中", "logon": "taro", "host": "PC-01", "segment": "10.1.0.0/24",
    "from_packets": 2, "from_bytes": 80, "to_packets": 0, "to_bytes": 0, "as_packets": 1, "as_bytes": 40,
}  # fmt: skip
TOTALS = {
    "in_packets": 2, "in_bytes": 80, "out_packets": 1, "out_bytes": 40, "lost": 3, "skipped": 4, "seconds": 1.5,
}  # fmt: skip
EVENTS = (
    BEGAN,
    {},
    {"lines": [ENTRY, MESSAGE], "lost": 0, "skipped": 0},
    {"lines": [SPOKEN], "lost": 3, "skipped": 4},
    {"rows": [ROW]},
    {"rows": [ROW | {"address": "", "user": ""}]},
    {"totals": TOTALS},
)


@pytest.fixture
def watched(daemon: Any) -> Any:
    daemon.answers("watch", {}, before=EVENTS)
    daemon.answers("watch bodies", {}, before=EVENTS)
    return daemon


def test_each_datagram_is_a_line_and_the_table_comes_last(run, watched):
    page = run("trace", "watch", "--lang", "en", "--config", watched.config)
    lines = page.out.splitlines()
    assert (page.code, page.err) == (0, "")
    assert lines[0].endswith(
        '  in   10.1.0.5 田中 (to all)  BR_ENTRY 7 [CAPUTF8] taro@PC-01 "田中" (g)  => user joined'
    )
    assert lines[1].endswith("  in   10.1.0.5:2426  SENDMSG 8 taro@PC-01: message of 9 bytes")
    assert lines[2].endswith('  out  10.1.0.9 (as 花子·[2J)  BR_ABSENCE 9 taro@PC-01 "Taro"')
    assert lines[3:5] == [
        "-- 3 lines left out so far: shown too slowly",
        "-- 4 datagrams not shown so far: more than 2,000 per second",
    ]
    (row,) = [one for one in lines if one.startswith("田中 ")]
    assert " ".join(row.split()) == "田中 10.1.0.5 10.1.0.0/24 2 (80 bytes) 1 (40 bytes)"
    assert "all others" in page.out
    assert lines[-2] == "in: 2 packets, 80 bytes; out: 1 packets, 40 bytes; 1.5 s"
    assert lines[-1] == "not shown, but counted: 3 (shown too slowly), 4 (too many per second)"


def test_in_japanese(run, watched):
    page = run("trace", "watch", "--lang", "ja", "--config", watched.config)
    assert "受信  10.1.0.5 田中 (全員宛)" in page.out
    assert "花子·[2J として" in page.out
    assert "受信: 2 パケット 80 バイト、送信: 1 パケット 40 バイト、1.5 秒" in page.out


def test_both_languages_say_the_same_things():
    english, japanese = trace_lines.WORDS["en"], trace_lines.WORDS["ja"]
    assert english.keys() == japanese.keys()


def test_what_is_asked(run, watched):
    run(
        "trace", "watch", "-u", "taro", "-a", "10.1.2.3", "--segment", "10.2.0.*", "--command", "entry",
        "--direction", "in", "--count", "5", "--seconds", "2.5", "--config", watched.config,
    )  # fmt: skip
    assert watched.asked[-1] == {
        "v": 1, "do": "watch", "watch": True,
        "more": {
            "users": ["taro"], "addresses": ["10.1.2.3"], "segments": ["10.2.0.*"], "commands": ["entry"],
            "directions": ["in"], "count": 5, "seconds": 2.5, "lines": True,
        },
    }  # fmt: skip


def test_bodies_are_another_request_and_show_what_was_written(run, watched):
    page = run("trace", "watch", "--bodies", "--lang", "en", "--config", watched.config)
    assert watched.asked[-1]["do"] == "watch bodies"
    assert "message of 9 bytes\n    | xx\n    | xxxxxx\n" in page.out


def test_only_counting(run, watched):
    page = run("trace", "watch", "--stats", "--lang", "en", "--config", watched.config)
    assert watched.asked[-1]["more"]["lines"] is False
    assert "BR_ENTRY" not in page.out
    assert "2 (80 bytes)" in page.out


def test_hex(run, watched):
    page = run("trace", "watch", "--hex", "--config", watched.config)
    assert "    0000  31 3a 37 3a 74 61 72 6f 3a 50 43 2d 30 31 3a 31  1:7:taro:PC-01:1\n" in page.out
    assert list(hexdump(bytes(17)))[1].split() == ["0010", "00", "."]


def test_json_is_one_object_per_line(run, watched):
    page = run("trace", "watch", "--json", "--hex", "--bodies", "--config", watched.config)
    first, second, third, losses, last = map(json.loads, page.out.splitlines())
    assert first.pop("time").startswith("2026-11-2")
    assert (
        first.pop("data") == build(b"1", 7, b"taro", b"PC-01", 0x01000001, "田中".encode("cp932"), b"g").hex()
    )
    assert first == {
        "direction": "in", "source": "10.1.0.5", "source_port": 2425, "target": "10.1.0.255", "target_port": 2425,
        "broadcast": True, "interface": "eth0", "name": "田中", "speak_as": "", "fate": "user joined", "ttl": 64,
        "command": "BR_ENTRY", "bytes": 30, "text": "",
        "summary": 'BR_ENTRY 7 [CAPUTF8] taro@PC-01 "田中" (g)',
    }  # fmt: skip
    assert (second["text"], third["direction"]) == ("xx\nxxxxxx", "out")
    assert losses == {"lost": 3, "skipped": 4}
    assert last["totals"] == TOTALS
    assert [row["address"] for row in last["users"]] == ["10.1.0.5", ""]


def test_nothing_seen_is_exit_1(run, daemon):
    nothing = dict.fromkeys(TOTALS, 0)
    daemon.answers("watch", {}, before=(BEGAN, {"totals": nothing}))
    page = run("trace", "watch", "--seconds", "1", "--lang", "en", "--config", daemon.config)
    assert (page.code, page.out) == (1, "nothing was seen\n")


def test_a_refusal_is_one_line_and_spares_the_file(run, daemon, tmp_path):
    old = tmp_path / "old.pcapng"
    old.write_bytes(b"precious")
    daemon.refuses("watch", "--direction up: expected in or out", 2)
    page = run("trace", "watch", "-d", "up", "--write", old, "--config", daemon.config)
    assert (page.code, page.err) == (2, "camrelay: --direction up: expected in or out\n")
    assert old.read_bytes() == b"precious"


def test_a_daemon_that_ends_is_said(run, daemon):
    daemon.lines["watch"] = [{"v": 1, "event": BEGAN}]
    page = run("trace", "watch", "--config", daemon.config)
    assert (page.code, "ended without an answer" in page.err) == (1, True)
    daemon.lines["watch"] = [{"v": 1, "ok": True, "result": {}}]
    page = run("trace", "watch", "--config", daemon.config)
    assert (page.code, page.err) == (1, "camrelay: the daemon ended before the watch began\n")


# -- the reading thread ------------------------------------------------------------------------------------------------


def test_a_reader_that_stops_loses_lines_and_knows_how_many(daemon):
    pieces = [{"lines": [ENTRY] * 10, "lost": 0, "skipped": 0}] * 50
    daemon.answers("watch", {}, before=(BEGAN, *pieces, {"totals": TOTALS}))
    with Stream(daemon.config, {"do": "watch", "watch": True}, room=4) as stream:
        deadline = time.monotonic() + 10
        while stream.lost < 460 and time.monotonic() < deadline:
            time.sleep(0.001)
        events = list(stream)
    assert stream.lost + sum(len(event.get("lines", ())) for event in events) == 500
    assert events[-1] == {"totals": TOTALS}


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """SIGINT is not ignored, as it is where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CTRL_C = {"press": "Ctrl-C"}


class Interrupted:
    """A stream during which Ctrl-C is pressed at these places."""

    lost = 0

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events = iter(events)
        self.asked = 0

    def __iter__(self) -> Interrupted:
        return self

    def __next__(self) -> dict[str, Any]:
        event = next(self._events)
        if event is CTRL_C:
            signal.raise_signal(signal.SIGINT)
            return next(self)
        return event

    def enough(self) -> bool:
        self.asked += 1
        return self.asked == 1


def screen() -> Screen:
    return Screen("en", as_json=False, as_hex=False, bodies=False, lines=True)


@pytest.mark.usefixtures("at_a_terminal")
def test_ctrl_c_asks_for_the_end_and_shows_it(capsys):
    stream = Interrupted(EVENTS[2], CTRL_C, *EVENTS[4:])
    shown = screen()
    trace_watch._follow(BEGAN, stream, shown, lambda event: None)  # type: ignore[arg-type]
    assert (stream.asked, shown.packets) == (1, 3)
    assert "in: 2 packets" in capsys.readouterr().out


@pytest.mark.usefixtures("at_a_terminal")
def test_a_second_ctrl_c_does_not_wait():
    stream = Interrupted(CTRL_C, CTRL_C, *EVENTS[4:])
    with pytest.raises(KeyboardInterrupt):
        trace_watch._follow(BEGAN, stream, screen(), lambda event: None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("at_a_terminal")
def test_ctrl_c_is_as_it_was_afterwards_and_stays_ignored_where_it_was():
    with interruptible(lambda: True):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible(lambda: True):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_end_can_be_asked_for_before_there_is_a_connection(tmp_path):
    config = tmp_path / "camrelay.toml"
    config.write_text(f'[relay]\ncontrol = "{tmp_path}/nobody.sock"\n')
    with Stream(config, {"do": "watch"}) as stream:
        assert stream.enough()
        assert not stream.enough()
        with pytest.raises(ControlError, match="no daemon answers"):
            next(stream)
    assert threading.active_count() < 20


# -- the file ----------------------------------------------------------------------------------------------------------


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """What Wireshark's engine reads, a row for each packet."""
    command = ["tshark", "-r", str(path), "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command += ["-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return [row.split("|") for row in ran.stdout.splitlines()]


def test_what_is_saved_is_read_by_wireshark(run, watched, tmp_path):
    path = tmp_path / "seen.pcapng"
    page = run("trace", "watch", "--stats", "--write", path, "--config", watched.config)
    assert (page.code, path.stat().st_mode & 0o777) == (0, 0o600)
    assert "BR_ENTRY" not in page.out
    if shutil.which("tshark") is None:
        assert path.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")
        return
    rows = tshark(
        path, "frame.time_epoch", "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "ip.ttl", "udp.length",
        "ip.checksum.status", "udp.checksum.status", "frame.interface_name", "frame.comment",
        "frame.packet_flags_direction", "_ws.malformed",
    )  # fmt: skip
    assert [row[1:10] for row in rows] == [
        ["10.1.0.5", "10.1.0.255", "2425", "2425", "64", "38", "1", "1", "eth0"],
        ["10.1.0.5", "10.1.0.255", "2426", "2425", "64", "36", "1", "1", "any"],
        ["10.2.0.7", "10.1.0.9", "2425", "2425", "1", "30", "1", "1", "any"],
    ]
    assert {float(row[0]) for row in rows} == {1795290980.25}
    assert rows[0][10] == "received by the relay, from 田中, => user joined"
    assert rows[2][10].startswith("sent by the relay, in the name of 花子")
    assert [int(row[11], 0) for row in rows] == [1, 1, 2]
    assert {row[12] for row in rows} == {""}


@given(st.binary(max_size=65507), st.integers(0, 65535), st.binary(min_size=4, max_size=4))
def test_checksums_come_out_as_nothing_when_summed_up_with_the_rest(
    data: bytes, port: int, ip: bytes
) -> None:
    address = ".".join(map(str, ip))
    packet = ipv4(Packet(0.0, address, port, "10.1.0.255", 2425, data))
    assert checksum(packet[:20]) == 0
    assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
    pseudo = packet[12:20] + struct.pack("!HH", 17, len(packet) - 20)
    assert checksum(pseudo + packet[20:]) == 0
    assert packet[26:28] != b"\0\0"


def test_blocks_are_whole_and_interfaces_described_once() -> None:
    file = io.BytesIO()
    writer = Writer(file, "camrelay")
    for name in ("eth0", "", "eth0"):
        writer.write(Packet(1.5, "", 1, "", 2, b"abc", interface=name, comment="x" * 5))
    data, kinds = file.getvalue(), []
    while data:
        kind, size = struct.unpack_from("<II", data)
        assert size % 4 == 0
        assert data[size - 4 : size] == struct.pack("<I", size)
        kinds.append(kind)
        data = data[size:]
    assert kinds == [0x0A0D0D0A, 1, 6, 1, 6, 6]
