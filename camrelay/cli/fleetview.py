"""The fleet as tables, for ``peer list`` and ``status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    Row = dict[str, Any]

STYLES = {
    "linked": "green",
    "connecting": "yellow",
    "away": "yellow",
    "unreachable": "red",
    "refused": "bold red",
}


def print_fleet(out: Console, fleet: Row) -> None:
    """All of it, with what a person should know below the table."""
    from camrelay.cli.show import clean

    if fleet["peers"]:
        out.print(peers_table(out, fleet["peers"]))
        out.line()
        linked = sum(row["state"] == "linked" for row in fleet["peers"])
        count = len(fleet["peers"])
        out.print(
            f"{count} other {'relay' if count == 1 else 'relays'}, {linked} linked; this one: {_self(fleet)}"
        )
    else:
        out.print(
            "This relay is in no fleet: `camrelay peer invite` here and `camrelay peer join` on another box."
        )
    for line in notes(fleet):
        out.print(clean(line))


def _self(fleet: Row) -> str:
    from camrelay.cli.show import clean

    return f"{clean(fleet['name'])}, dialled at {', '.join(fleet['addresses']) or 'no address'}"


def notes(fleet: Row) -> list[str]:
    """Invitations that are open, and a rotation that waits."""
    from camrelay.cli.show import age

    found = []
    for one in fleet["invitations"]:
        if one["left"] > 0 and not one["used_by"]:
            found.append(
                f"open invitation{' for ' + one['name'] if one['name'] else ''}: {age(one['left'])} left"
            )
    if fleet["rotating"]:
        waiting = ", ".join(fleet["awaited"]) or "nobody any more"
        found.append(f"new key: not in use yet, waits for {waiting}")
    if fleet["problem"]:
        found.append(f"problem: {fleet['problem']}")
    if fleet["removed_by"] and not fleet["peers"]:
        found.append(f"removed from its fleet {age(fleet['removed'])} ago, as {fleet['removed_by']} said")
    return found


def peers_table(out: Console, rows: list[Row]) -> Table:
    """A line for each other relay."""
    from rich.text import Text

    from camrelay.cli.show import age, clean, listing

    heads = (
        "relay", "state", "since", "rtt", "users", "in step", "sent", "received", "links lost", "address",
    )  # fmt: skip
    pairs = ((0, 9), (1, 5, 8), (2, 3, 4), (6, 7))
    cells: list[list[str | Text]] = []
    for row in rows:
        state = Text(row["state"], STYLES.get(row["state"], ""))
        if row["why"]:
            state.append(f": {clean(row['why'])}", "default")
        step = "-" if row["synced"] is None else f"{age(row['synced'])} ago"
        if row["owed"]:
            step += f", {row['owed']} parts to go"
        lost = ", ".join(f"{count} {cause}" for cause, count in sorted(row["drops"].items()))
        cells.append(
            [
                clean(row["name"]),
                state,
                age(row["since"]),
                "-" if row["rtt"] is None else f"{row['rtt'] * 1000:.1f} ms",
                f"{row['users']:,}",
                step,
                size(row["sent"]),
                size(row["received"]),
                clean(lost) or "-",
                clean(row["address"] or ", ".join(row["addresses"])),
            ]
        )
    numbers = ("since", "rtt", "users", "sent", "received")
    return listing(out, heads, cells, pairs, right=numbers, whole=("relay", "address"))


def print_keys(out: Console, fleet: Row) -> None:
    """Names, ids and keys in words, to compare with another screen."""
    from camrelay.cli.show import clean, table

    made = table("relay", "id", "key in words", whole=("relay", "id"))
    if fleet["id"]:
        made.add_row(f"{clean(fleet['name'])} (this one)", fleet["id"][:16], fleet["words"])
    for row in fleet["peers"]:
        made.add_row(clean(row["name"]), row["id"][:16], row["words"])
    if made.row_count:
        out.print(made)
    else:
        out.print("This relay has no key yet: it gets one with its first `camrelay peer invite` or `join`.")


def size(count: int) -> str:
    """Bytes as people read them: "812 B", "64.2 kB", "1.3 MB"."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB" if count < 10**9 else f"{count / 10**9:.1f} GB"
