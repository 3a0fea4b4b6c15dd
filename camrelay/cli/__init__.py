"""The command line. ``main`` is its one door: exit codes, one-line errors, quiet pipes.

A subcommand's module is imported only when it is named, and imports everything but typer inside its
functions: ``camrelay --help`` costs typer and nothing else.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell shows for any program whose reader went away
INTERRUPTED = 130  # 128 + SIGINT


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's); its exit code. Errors are one line on stderr."""
    from camrelay.errors import CamrelayError

    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a nick that the terminal's charset lacks must not end a listing
            reconfigure(errors="backslashreplace")
    try:
        code = _do(sys.argv[1:] if args is None else list(args))
        sys.stdout.flush()
    except CamrelayError as error:
        return _complain(getattr(error, "summary", str(error)), error.exit_code)  # ConfigError has many lines
    except BrokenPipeError:
        return _hang_up()
    except (
        SystemExit
    ) as leaving:  # rich and typer turn a broken pipe into this; shell completion ends with it
        if isinstance(leaving.__context__, BrokenPipeError):
            return _hang_up()
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    return code


def _do(words: list[str]) -> int:
    if words[:1] == ["run"]:  # the one process that stays: spare it what it does not need
        from camrelay.cli import foreground

        if foreground.plainly_run(words):
            return foreground.run(words)
    from camrelay.cli.app import invoke

    return invoke(words)


def _hang_up() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains about its last flush
    return BROKEN_PIPE


def _complain(message: str, code: int) -> int:
    from camrelay.cli.show import clean  # it may name users, who call themselves what they like

    print("camrelay:", clean(" ".join(message.split())), file=sys.stderr)
    return code
