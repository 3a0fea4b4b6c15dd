"""Log lines: how they look, what is held back, and that strangers' names cannot do anything to a terminal."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest

from camrelay.daemon.log import BURST, KEPT, Log


class Clock:
    """Set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock | None = None, **how: str) -> tuple[Log, io.StringIO]:
    stream = io.StringIO()
    log = Log(clock or Clock(), lambda: 1_800_000_000.0)
    log.open(stream=stream, environment={}, **how)
    return log, stream


def test_a_line_is_time_level_phrase_and_keys() -> None:
    log, stream = opened()
    log.info("user joined", nick="田中 太郎", address="10.0.0.1", away=False, text='say "hi"')
    assert re.fullmatch(
        r"2027-01-15T\d\d:00:00[+-]\d{4} info     "
        r'user joined nick="田中 太郎" address=10\.0\.0\.1 away=false text="say \\"hi\\""\n',
        stream.getvalue(),
    )


def test_the_journal_gets_the_priority_and_no_time() -> None:
    log, stream = opened()
    log.open(stream=stream, environment={"JOURNAL_STREAM": "8:1"})
    log.warning("low")
    assert stream.getvalue() == "<4>low\n"


def test_json_has_the_same_keys() -> None:
    log, stream = opened(form="json")
    log.error("not written", cause="disk\nfull", count=3)
    line = json.loads(stream.getvalue())
    assert line.pop("time").startswith("2027-01-15T")
    assert line == {"level": "error", "event": "not written", "cause": "disk\nfull", "count": 3}


@pytest.mark.parametrize("nick", ["a\x1b[31mb", "a\nlevel=error forged", "a\r\x9bb", "\u202egnp.exe"])
def test_a_name_cannot_move_the_cursor_or_forge_a_line(nick: str) -> None:
    log, stream = opened()
    log.info("user joined", nick=nick)
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


def test_less_important_lines_are_left_out() -> None:
    log, stream = opened(level="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert stream.getvalue().splitlines()[0].endswith("warning  c")


def test_lines_said_before_it_is_open_are_kept() -> None:
    log, stream = Log(), io.StringIO()
    for number in range(KEPT + 5):
        log.info("early", number=number)
    log.open(stream=stream, environment={})
    assert len(stream.getvalue().splitlines()) == KEPT


def test_the_same_line_again_is_counted_not_said() -> None:
    clock = Clock()
    log, stream = opened(clock)
    for _ in range(10):
        log.warning("send failed", cause="network down")
    log.warning("send failed", cause="something else")
    clock.now = 61.0
    log.warning("send failed", cause="network down")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith('cause="network down" unsaid=9')


def test_a_flood_of_one_phrase_is_cut_and_the_rest_counted() -> None:
    clock = Clock()
    log, stream = opened(clock)
    for number in range(BURST + 100):
        log.info("user joined", number=number)
    log.info("something else")
    clock.now = 1.0
    log.info("user joined", number=-1)
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 2
    assert lines[-1].endswith("number=-1 unsaid=100")


def test_the_end_comes_with_its_traceback_even_if_the_log_was_never_opened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = Log()
    log.info("before")
    try:
        raise KeyError("x")
    except KeyError as error:
        log.end("bug: the relay ends", error)
    said = capsys.readouterr().err
    assert "before" in said.splitlines()[0]
    assert "critical bug: the relay ends error=\"KeyError: 'x'\"" in said
    assert "    Traceback (most recent call last):" in said


def test_a_closed_stderr_does_not_end_anything() -> None:
    log, stream = opened()
    stream.close()
    log.info("nobody hears this")


def test_of_structlog_only_the_renderers_are_loaded_and_the_rest_can_be_later() -> None:
    code = (
        "import sys; from camrelay.daemon.log import Log; log = Log(); log.info('x'); before = set(sys.modules);"
        "log.open(); assert 'structlog.processors' in sys.modules;"
        "assert not {'structlog', 'asyncio', 'rich'} & (set(sys.modules) - before);"
        "import rich, structlog; assert structlog.processors is sys.modules['structlog.processors'];"
        "structlog.get_logger().info('y')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
