"""``camrelay users``: the roster as a table, as JSON, or as a stream of what happens to it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.text import Text

    from camrelay.cli.seen import View

app = subcommand()

Row = dict[str, Any]


class State(StrEnum):
    """The states of a user (camrelay.relay.snapshot.UserRow.state)."""

    ONLINE = "online"
    UNVERIFIED = "unverified"
    OFFLINE = "offline"


class Sort(StrEnum):
    """What the table can be sorted by."""

    NICK = "nick"
    GROUP = "group"
    LOGON = "logon"
    HOST = "host"
    ADDRESS = "address"
    SEGMENT = "segment"
    STATE = "state"
    KIND = "kind"
    SEEN = "seen"
    JOINED = "joined"


SegmentFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--segment", "-s", metavar="NAME", help="Only this segment, as status names it; repeatable."
    ),
]
StateFilter = Annotated[list[State] | None, typer.Option("--state", help="Only this state; repeatable.")]
TextFilter = Annotated[
    str,
    typer.Option(
        "--search", "-q", metavar="TEXT", help="Only with TEXT in a name, group, version or address."
    ),
]
ViewFilter = Annotated[
    str,
    typer.Option(
        "--as-seen-from",
        metavar="SEGMENT",
        help="Only who is shown in this segment (its name, network or an address in it), by the [[share]] rules"
        " of the configuration file: they need not be in force yet.",
    ),
]
SortOption = Annotated[Sort, typer.Option("--sort", help="Sort by this column.")]
WatchOption = Annotated[
    bool, typer.Option("--watch", "-w", help="Show what happens from now on, until Ctrl-C.")
]


@app.command()
def users(
    config: ConfigOption = None,
    segment: SegmentFilter = None,
    state: StateFilter = None,
    search: TextFilter = "",
    as_seen_from: ViewFilter = "",
    sort: SortOption = Sort.SEGMENT,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the users the relay knows, or watch them come and go.

    Filters narrow both. With --json: an array of objects; with --watch --json: one object per line, with time
    (ISO 8601), event (joined, changed, moved, left, forgotten) and user.

    \b
    Examples:
      camrelay users --segment '192.168.2.*' --state online
      camrelay users --search tanaka
      camrelay users --sort seen
      camrelay users --as-seen-from 192.168.2.7
      camrelay users --json | jq -r '.[] | .address'
      camrelay users --watch

    \b
    Exit codes:
      0  users found (or the watch was ended with Ctrl-C)
      1  no user matches
      2  wrong usage or configuration
      3  the daemon is not running, or ended during --watch
    """
    from camrelay.cli.asking import answers, result
    from camrelay.cli.show import print_json

    view = _view(as_seen_from, config)
    wanted = _filter(segment or [], [s.value for s in state or []], search, view)
    if watch:
        return _watch(answers(config, {"do": "users", "watch": True}), wanted, as_json)
    everybody = result(config, {"do": "users", "watch": False})
    rows = sorted(filter(wanted, everybody), key=_sort_key(sort))
    if as_json:
        print_json(rows)
    else:
        _print(rows, _hidden(everybody, view) if view else "")
    return 0 if rows else 1


def _view(segment: str, config: Path | None) -> View | None:
    if not segment:
        return None
    from camrelay.cli.seen import seen_from

    return seen_from(segment, config)


def _hidden(rows: list[Row], view: View) -> str:
    """How many others are hidden, and by which rules."""
    from collections import Counter

    rules = Counter(rule for row in rows if view.lists(row) and (rule := view.hidden_by(row)))
    by = ", ".join(f"share[{rule}]: {users}" for rule, users in sorted(rules.items()))
    return f"; hidden from {view.name}: {rules.total()}" + (f" ({by})" if by else "")


def _filter(segments: list[str], states: list[str], search: str, view: View | None) -> Callable[[Row], bool]:
    needle = search.casefold()

    def wanted(row: Row) -> bool:
        return (
            (not segments or row["segment"] in segments)
            and (not states or row["state"] in states)
            and any(
                needle in row[k].casefold()
                for k in ("nick", "group", "logon", "host", "address", "version", "kind")
            )
            and (view is None or (view.lists(row) and view.hidden_by(row) is None))
        )

    return wanted


def _sort_key(sort: Sort) -> Callable[[Row], tuple[Any, ...]]:
    """Addresses and segments by number, ages by age, names without regard to case; ties by address."""
    import re

    def numeric(text: str) -> list[tuple[int, int, str]]:
        return [
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)
        ]

    def key(row: Row) -> tuple[Any, ...]:
        if sort in (Sort.SEEN, Sort.JOINED):
            first: Any = row["last_seen" if sort is Sort.SEEN else "joined"]
        elif sort in (Sort.ADDRESS, Sort.SEGMENT):
            first = numeric(row[sort.value])
        else:
            first = row[sort.value].casefold()
        return (first, numeric(row["address"]))

    return key


def _print(rows: list[Row], more: str) -> None:
    from camrelay.cli.show import console, listing

    out = console()
    if rows:
        heads = ("nick", "group", "logon", "host", "address", "segment", "state", "kind", "last seen")
        pairs = ((0, 1), (2, 3), (4, 5), (6, 7), (8,))
        whole = ("address", "segment")
        out.print(listing(out, heads, map(_cells, rows), pairs, right=("last seen",), whole=whole))
        out.line()
    online = sum(row["state"] == "online" for row in rows)
    out.print(f"{len(rows)} {'user' if len(rows) == 1 else 'users'}, {online} online{more}")


def _cells(row: Row) -> list[Text]:
    from rich.text import Text

    from camrelay.cli.show import age, clean

    styles = {"online": "green", "unverified": "yellow", "offline": "dim"}
    address = row["address"] if row["port"] == 2425 else f"{row['address']}:{row['port']}"
    state = (
        row["state"] + (", away" if row["away"] else "") + (f", twin at {row['twin']}" if row["twin"] else "")
    )
    return [
        *(Text(clean(row[k])) for k in ("nick", "group", "logon", "host")),
        Text(address),
        Text(row["segment"] + ("" if row["home"] else " (told)")),
        Text(state, styles.get(row["state"], "")),
        Text(row["kind"]),
        Text(age(row["last_seen"])),
    ]


def _watch(stream: Iterator[tuple[str, Any]], wanted: Callable[[Row], bool], as_json: bool) -> int:
    from datetime import datetime

    from camrelay.cli.show import clean, console, print_json
    from camrelay.errors import NotRunning

    out = console()
    styles = {"joined": "green", "left": "red", "forgotten": "dim", "moved": "yellow", "changed": "cyan"}
    try:
        for what, value in stream:
            if what == "result":
                if not as_json:
                    out.print(f"[dim]{sum(map(wanted, value))} users now; Ctrl-C ends[/]", markup=True)
                continue
            if not wanted(value["user"]):
                continue
            now = datetime.now().astimezone()
            if as_json:
                print_json({"time": now.isoformat(timespec="milliseconds"), **value}, lines=True)
                continue
            out.print(_line(value, now.strftime("%H:%M:%S"), styles, clean))
            out.file.flush()
    except KeyboardInterrupt:
        return 0
    raise NotRunning("the daemon has ended or dropped this watch")


def _line(value: Row, time: str, styles: dict[str, str], clean: Callable[[str], str]) -> Any:
    """One event as a line: time, event, who, from where, and what an event says beyond that."""
    from rich.text import Text

    user, event = value["user"], value["event"]
    line = Text.assemble(
        (time, "dim"), "  ", (f"{event:<9}", styles.get(event, "")), "  ", (clean(user["nick"]), "bold"),
        f" ({clean(user['group'])})  " if user["group"] else "  ",
        clean(f"{user['logon']}@{user['host']}  {user['address']}  {user['segment']}  {user['kind']}"),
    )  # fmt: skip
    more = {k: v for k, v in value.items() if k not in ("event", "user") and v not in (None, "")}
    line.append("".join(f"  {k}: {clean(str(v))}" for k, v in more.items()))
    return line
