"""How ``camrelay demo --sites 3`` looks: three sites around a router, a list at each of them, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.constrain import Constrain
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from camrelay.cli.demo_fleet_outcome import DIES, LATECOMER, QUITS, RELAYS, SITES, elsewhere, site, there
from camrelay.cli.demo_view import SPEECH, WIDTH, delivery, failed, last

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import RenderableType

    from camrelay.cli.demo_client import Client, Seen
    from camrelay.cli.demo_fleet_outcome import FleetOutcome, Join

WINDOWS = ("192.168.1.11", "192.168.2.21", "192.168.3.31")  # whose lists are shown: 田中's, 佐藤's and 鈴木's
COLOURS = {"tokyo": "cyan", "osaka": "magenta", "naha": "yellow"}


def colour(address: str) -> str:
    """Of the site of an address."""
    return COLOURS[site(address)]


def opening() -> RenderableType:
    """The first line."""
    return Text.assemble(
        "\n",
        (" camrelay demo ", "bold reverse green"),
        "  three sites, each with a relay of its own: they become a fleet\n",
    )


def network(columns: int) -> RenderableType:
    """The sites, and the router between them."""
    grid = _three()
    grid.add_row(*(_site(name, speech=columns >= WIDTH) for name in SITES))
    third = columns // 3
    left, middle = third // 2, third - 9
    right = columns - left - middle - third // 2 - 13
    line = Text.assemble(" " * left, f"└{'─' * middle} ", ("router", "bold"), f" ─┴{'─' * right}┘")
    return Constrain(Group(grid, line, Text("passes no broadcast", "bold", justify="center")), columns)


def _three() -> Table:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in SITES:
        grid.add_column(ratio=1)
    return grid


def _site(name: str, *, speech: bool) -> Panel:
    inside = Table.grid(padding=(0, 1))
    for person in SITES[name]:
        said = Text(SPEECH[person.manner] if speech else "", "dim")
        inside.add_row(Text(person.nick, "bold"), last(person.address), said)
    inside.add_row(Text("camrelay", "bold green"), last(RELAYS[name]), "")
    front = RELAYS[name].rpartition(".")[0]
    return Panel(inside, title=f"{name}  {front}.0/24", title_align="left", border_style=COLOURS[name])


def windows(outcome: FleetOutcome, columns: int, *, after: bool) -> RenderableType:
    """One user's list of each site; ``after``: when they are a fleet, with times."""
    grid = _three()
    grid.add_row(
        *(_window(outcome, outcome.clients[a], after=after, whole=columns >= WIDTH) for a in WINDOWS)
    )
    return Constrain(grid, columns)


def _window(outcome: FleetOutcome, client: Client, *, after: bool, whole: bool) -> Panel:
    mine = client.person.address
    listed = (outcome.after.get(mine) or client.roster) if after else outcome.before[mine]
    inside = Table(
        box=box.SIMPLE_HEAD, show_edge=False, expand=True, pad_edge=False, padding=(0, 1, 0, 0),
        header_style="dim",
    )  # fmt: skip
    inside.add_column("user", no_wrap=True)
    inside.add_column("address", no_wrap=True, min_width=12 if whole else 4)
    for address, seen in sorted(listed.items(), key=lambda item: (item[1].is_relay, item[0])):
        _add(inside, mine, address, seen, whole=whole)
    if not after:
        inside.add_row(Text("nobody else", "red"))
    return Panel(
        inside, title=f"{client.person.nick}'s list, in {site(mine)}", title_align="left",
        border_style=colour(mine), padding=(0, 1, 0, 1),
    )  # fmt: skip


def _add(table: Table, mine: str, address: str, seen: Seen, *, whole: bool) -> None:
    style = "dim" if seen.is_relay else f"bold {colour(address)}" if site(address) != site(mine) else ""
    shown = address if whole else "." + ".".join(address.split(".")[2:])
    table.add_row(Text(seen.presence.nick_text), Text(shown), style=style)


def ready(outcome: FleetOutcome) -> RenderableType:
    """How fast the relays were."""
    slowest = max(outcome.ready.values(), default=0.0) * 1000
    return Text(
        f"     (the relays run: each was ready after {slowest:,.0f} ms at most, and serves its own site)",
        "dim",
    )


def joined(join: Join) -> RenderableType:
    """The two commands of a join, and what the second one said."""
    inviter, newcomer = join.inviter, join.newcomer
    lines = Text.assemble(
        "   ", (f"{inviter}#", f"bold {COLOURS[inviter]}"), f" camrelay peer invite --for {newcomer}",
        ("      prints a token, good once and for an hour", "dim"), "\n   ",
        (f"{newcomer}#", f"bold {COLOURS[newcomer]}"), " camrelay peer join",
    )  # fmt: skip
    for line in join.said:
        lines.append(f"\n     {line}", "dim" if line.startswith("The same") else "")
    return lines


def pairs(outcome: FleetOutcome) -> RenderableType:
    """Everybody's lists in one line."""
    across, seen = outcome.pairs(across=True), outcome.seen.values()
    complete = len(seen) == len(across)
    line = Text.assemble("   ", ("✓ ", "green") if complete else ("✗ ", "red"))
    line.append(f"{len(seen)} of {len(across)} pairs of different sites list each other", "bold")
    if seen:
        late = (max(seen) - outcome.joined_at) * 1000
        line.append(
            f", {late:,.0f} ms after the second join" if late > 0 else " before the second join has reported"
        )
    return line


def outage(outcome: FleetOutcome, *, waiting: bool = False) -> RenderableType:
    """What the death of a relay changed, and what it did not. ``waiting``: more is to come."""
    noticed = {name: (at - outcome.killed_at) * 1000 for name, at in outcome.noticed.items()}
    by = " and ".join(f"{name} after {late:,.0f} ms" for name, late in noticed.items())
    quitter = outcome.clients[QUITS].person.nick
    lines: list[RenderableType] = [
        _tick(len(noticed) == len(SITES) - 1, f"noticed by {by or 'nobody yet'}", waiting)
    ]
    if outcome.meanwhile:
        lines += [
            delivery(outcome.meanwhile, colour),
            _tick(
                not outcome.too_early, f"{LATECOMER.nick} starts in {DIES}: nobody elsewhere knows", waiting
            ),
            _tick(True, f"{quitter} quits in {site(QUITS)}: in {DIES} nobody knows", waiting),
        ]
    return Group(*lines)


def back(outcome: FleetOutcome, *, waiting: bool = False) -> RenderableType:
    """How all became right again. ``waiting``: more is to come."""
    gone, late = outcome.missed.values(), outcome.late.values()
    quitter = outcome.clients[QUITS].person.nick
    lost = f"{len(outcome.vanished)} entries" if outcome.vanished else "nobody"
    lines = [
        _tick(
            len(gone) == len(there()),
            f"{quitter} is off all lists of {DIES}{_after(gone, outcome.back_at)}",
            waiting,
        ),
        _tick(
            len(late) == len(elsewhere()),
            f"{LATECOMER.nick} is on all lists elsewhere{_after(late, outcome.back_at)}",
            waiting,
        ),
        Text("     (for 6 s a relay that starts finds out who is still there)", "dim"),
    ]
    if not waiting:
        lines.append(_tick(not outcome.vanished, f"{lost} vanished from any list in all that time"))
    return Group(*lines)


def _after(moments: Collection[float], start: float) -> str:
    return f" {(max(moments) - start) * 1000:,.0f} ms after its start" if moments else ": not yet"


def _tick(good: bool, text: str, waiting: bool = False) -> Text:
    mark = ("✓ ", "green") if good else ("… ", "yellow") if waiting else ("✗ ", "red")
    return Text.assemble("   ", mark, text)


def verdict(outcome: FleetOutcome, columns: int) -> RenderableType:
    """The end: all well, or what was not."""
    problems = outcome.problems()
    if problems:
        return failed(problems, columns)
    text = Text.assemble(
        ("Three sites, one relay each, two joins, no setting on any client.\n", "bold"),
        (f"Took {outcome.seconds:.1f} s; nothing is left behind. ", "dim"),
        ("On real boxes: docs/operations.md", "dim"),
        justify="center",
    )
    return Constrain(Panel(text, border_style="green"), columns)
