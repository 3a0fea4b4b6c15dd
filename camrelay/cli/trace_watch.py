"""``camrelay packet-trace watch``: the datagrams that come in and go out, as they do, and who sent how many."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand
from camrelay.cli.trace_view import language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from camrelay.cli.trace_lines import Screen
    from camrelay.cli.trace_stream import Stream

    Saving = Callable[[dict[str, Any]], None]

app = subcommand()

# Whom and what lines are about.
UserFilter = Annotated[
    list[str] | None,
    typer.Option("--user", "-u", metavar="TEXT", help="From, to, for or about a user with TEXT in a name."),
]
AddressFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--address", "-a", metavar="ADDRESS", help="From, to or for 10.1.2.3, 10.1.2.* or 10.1.0.0/16."
    ),
]
SegmentFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--segment", "-s", metavar="NAME", help="From, to or for somebody there; as status names it."
    ),
]
CommandFilter = Annotated[
    list[str] | None,
    typer.Option("--command", metavar="NAME", help="BR_ENTRY, ansentry, 0x20, or malformed."),
]
DirectionFilter = Annotated[
    list[str] | None, typer.Option("--direction", "-d", metavar="in|out", help="Only this direction.")
]
# When it ends, and what is shown.
CountOption = Annotated[
    int, typer.Option("--count", "-n", min=0, help="End after so many datagrams (0: never).")
]
SecondsOption = Annotated[float, typer.Option("--seconds", min=0, help="End after so long (0: never).")]
HexOption = Annotated[bool, typer.Option("--hex", help="Show the bytes, too.")]
BodiesOption = Annotated[
    bool,
    typer.Option("--bodies", help="Show what people wrote, too (root only): mind the law of your country."),
]
StatsOption = Annotated[bool, typer.Option("--stats", help="Only count: no lines, the table at the end.")]
WriteOption = Annotated[
    Path | None,
    typer.Option("--write", "-w", metavar="FILE.pcapng", help="Save for Wireshark, too.", dir_okay=False),
]


@app.command()
def watch(
    user: UserFilter = None,
    address: AddressFilter = None,
    segment: SegmentFilter = None,
    command: CommandFilter = None,
    direction: DirectionFilter = None,
    count: CountOption = 0,
    seconds: SecondsOption = 0.0,
    as_hex: HexOption = False,
    bodies: BodiesOption = False,
    stats: StatsOption = False,
    write: WriteOption = None,
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show the datagrams that come in and go out, until Ctrl-C; then who sent how many.

    Each line: time, in or out, the other side, for whom the relay speaks ("as"), what it says, and what the relay made
    of it ("=>"). Filters may be repeated: several of a kind widen, several kinds narrow.

    What people write to each other is not shown; only its length. That holds for --hex and --write as well: its bytes
    are replaced by x, as many as there were, unless root asks for --bodies.

    The relay does not wait for who watches: what is too much (2,000 lines per second) or too slow to be shown is left
    out and counted. The table at the end counts everything. Headers in FILE.pcapng are made up around the datagrams:
    addresses, ports and TTL are right, MAC addresses and fragments are not there.

    \b
    Examples:
      camrelay packet-trace watch --user tanaka
      camrelay trace watch --segment '192.168.2.*' --direction out --command br_absence
      camrelay trace watch --address 10.1.2.33 --count 20 --hex
      camrelay trace watch --seconds 60 --stats
      camrelay trace watch --write taro.pcapng --user taro

    \b
    Exit codes:
      0  ended by --count, --seconds or Ctrl-C, with something seen
      1  nothing was seen, or not allowed
      2  wrong usage or configuration
      3  the daemon is not running
    """
    from camrelay.cli.trace_lines import Screen
    from camrelay.cli.trace_stream import Stream
    from camrelay.errors import ControlError

    more = {
        "users": user or [], "addresses": address or [], "segments": segment or [], "commands": command or [],
        "directions": direction or [], "count": count, "seconds": seconds, "lines": not stats or bool(write),
    }  # fmt: skip
    request = {"do": "watch bodies" if bodies else "watch", "watch": True, "more": more}
    screen = Screen(language(lang), as_json=as_json, as_hex=as_hex, bodies=bodies, lines=not stats)
    with Stream(config, request) as stream:
        first = next(stream, None)  # the daemon may refuse: then no file is emptied
        if first is None:
            raise ControlError("the daemon ended before the watch began")
        with _saving(write) as saving:
            _follow(first, stream, screen, saving)
    return 0 if screen.packets else 1


def _follow(first: dict[str, Any], stream: Stream, screen: Screen, saving: Saving) -> None:
    """Show everything to the end; Ctrl-C asks for the end, a second one does not wait for it."""
    from camrelay.cli.trace_stream import interruptible

    with interruptible(stream.enough):
        for event in chain([first], stream):
            saving(event)
            screen.show(event, stream.lost)


@contextmanager
def _saving(path: Path | None) -> Iterator[Saving]:
    """What writes the lines of an event into the file; nothing without one."""
    if path is None:
        yield lambda event: None
        return
    from camrelay import __version__
    from camrelay.cli.pcapng import create
    from camrelay.cli.trace_lines import packet_of

    with create(path, f"camrelay {__version__}") as writer:

        def save(event: dict[str, Any]) -> None:
            for line in event.get("lines", ()):
                writer.write(packet_of(line))
            writer.flush()

        yield save
