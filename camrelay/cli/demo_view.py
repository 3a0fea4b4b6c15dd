"""How ``camrelay demo`` looks: the drawn network, lists side by side as users see them, the verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from camrelay.cli.demo_outcome import FLOORS, RELAY, floor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType

    from camrelay.cli.demo_client import Client
    from camrelay.cli.demo_outcome import Delivery, Outcome

WIDTH = 104
NARROWEST = 80
CELL = 12.2  # rich's width of one character in an SVG
WINDOWS = ("192.168.1.12", "192.168.2.21")  # whose lists are shown in full: Anna's and 佐藤's
COLOURS = {"1F": "cyan", "2F": "magenta"}
SPEECH = {"classic": "Shift_JIS", "trailer": "Shift_JIS + UTF-8", "iptux": "UTF-8, as iptux"}
GRID = "192.168.{}.0/24"


def screen(*, quiet: bool, record: bool) -> Console:
    """Where the demo is shown: the terminal, nowhere (``quiet``), or a picture in the making (``record``)."""
    import io

    from rich.console import Console

    if record:
        return Console(
            file=io.StringIO(),
            record=True,
            width=WIDTH,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
    out = Console(quiet=quiet, highlight=False, emoji=False)
    if not out.is_terminal:
        out.width = WIDTH
    return out


def save(out: Console, path: Path) -> None:
    """Write what was recorded as SVG that loads nothing from elsewhere and that any viewer draws alike."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    alone = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    alone = alone.replace(
        "Fira Code, monospace", "Fira Code, DejaVu Sans Mono, Noto Sans Mono CJK JP, monospace"
    )
    picture = out.export_svg(title="camrelay demo", code_format=alone)
    path.write_text(
        re.sub(r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*)>((?:&#160;)+)', _moved, picture)
    )


def _moved(found: re.Match[str]) -> str:
    """Blanks at the start of a text become a shift: some viewers swallow them."""
    shift = CELL * found[5].count(";")
    return (
        f'x="{float(found[1]) + shift:g}" y="{found[2]}" textLength="{float(found[3]) - shift:g}"{found[4]}>'
    )


def opening() -> RenderableType:
    """The first line."""
    return Text.assemble(
        "\n",
        (" camrelay demo ", "bold reverse green"),
        "  IP Messenger users of two segments meet across a router\n",
    )


def width(out: Console) -> int:
    """How wide everything is drawn."""
    return max(NARROWEST, min(WIDTH, out.width))


def heading(number: int, text: str) -> RenderableType:
    """The line that opens an act."""
    return Text.assemble("\n", (f" {number} ", "bold reverse"), (f"  {text}", "bold"))


def network(columns: int) -> RenderableType:
    """Both floors and the router between them."""
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(width=24)
    grid.add_column(ratio=1)
    middle = Text.assemble(
        "\n", ("┌────────┐\n───────┤ ", "bold"), ("router", "bold yellow"),
        (" ├───────\n└────────┘\n", "bold"),
        ("passes no broadcast", "yellow"), justify="center",
    )  # fmt: skip
    middle.no_wrap = True
    grid.add_row(_floor("1F", 1, relay=True), middle, _floor("2F", 2, relay=False))
    return _fit(grid, columns)


def _floor(name: str, number: int, *, relay: bool) -> Panel:
    inside = Table.grid(padding=(0, 1))
    for person in FLOORS[name]:
        inside.add_row(Text(person.nick, "bold"), last(person.address), Text(SPEECH[person.manner], "dim"))
    if relay:
        inside.add_row(Text("camrelay", "bold green"), last(RELAY), Text("all that is added", "green"))
    else:
        inside.add_row("", "", Text("nothing added here", "dim"))
    return Panel(
        inside, title=f"{name}  {GRID.format(number)}", border_style=COLOURS[name], title_align="left"
    )


def last(address: str) -> str:
    """The part of an address that its segment does not share."""
    return "." + address.rpartition(".")[2]


def windows(outcome: Outcome, columns: int, *, after: bool) -> RenderableType:
    """Two users' lists side by side, one of each floor; ``after``: with times."""
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(
        *(
            _window(outcome, outcome.clients[address], after=after, grouped=columns >= WIDTH)
            for address in WINDOWS
        )
    )
    return _fit(grid, columns)


def _window(outcome: Outcome, client: Client, *, after: bool, grouped: bool) -> Panel:
    mine = client.person.address
    inside = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        expand=True,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    inside.add_column("user", no_wrap=True)
    if grouped:
        inside.add_column("group", no_wrap=True)
    inside.add_column("address", no_wrap=True, min_width=12)
    if after:
        inside.add_column("after", justify="right", no_wrap=True, min_width=7)
    listed = (outcome.after.get(mine) or client.roster) if after else outcome.before[mine]
    for address, seen in sorted(listed.items(), key=lambda item: (item[1].is_relay, item[1].at)):
        presence, moment = seen.presence, outcome.seen.get((mine, address))
        cells = [presence.nick_text, *([presence.group_text] if grouped else []), address]
        if after:
            cells.append("" if moment is None else f"{(moment - outcome.started) * 1000:,.0f} ms")
        style = "dim" if seen.is_relay else "bold green" if floor(address) != floor(mine) else ""
        inside.add_row(*map(Text, cells), style=style)
    if not after:
        other = "2F" if floor(mine) == "1F" else "1F"
        inside.add_row(Text(f"nobody of {other}", "red"))
    title = f"{client.person.nick}'s list, on {floor(mine)}"
    return Panel(
        inside, title=title, title_align="left", border_style=COLOURS[floor(mine)], padding=(0, 1, 0, 1)
    )


def pairs(outcome: Outcome) -> RenderableType:
    """Everybody's lists in two lines."""
    across, seen = outcome.across(), sorted(outcome.seen.values())
    complete = len(seen) == len(across)
    line = Text.assemble("   ", ("✓ ", "green") if complete else ("✗ ", "red"))
    line.append(f"{len(seen)} of {len(across)} pairs across the router list each other", "bold")
    if seen and outcome.ready:
        first, last, ready = (
            f"{(moment - outcome.started) * 1000:,.0f} ms" for moment in (seen[0], seen[-1], outcome.ready)
        )
        line.append(f": the first after {first}, the last after {last}\n")
        line.append(f"     (since camrelay's process was started; it was ready after {ready})", "dim")
    return line


def delivery(found: Delivery, colour: Callable[[str], str]) -> RenderableType:
    """One message: who to whom, what, and by which addresses it and its receipt came."""
    sender, receiver = found.sender, found.receiver
    lines = Text.assemble(
        ("   ", ""), (sender.nick, f"bold {colour(sender.address)}"), " → ",
        (receiver.nick, f"bold {colour(receiver.address)}"), "   ", (f"“{found.text}”", "italic"),
    )  # fmt: skip
    for what, after, source, owner in (
        ("delivered", found.arrived, found.came_from, sender),
        ("receipt", found.receipt, found.receipt_from, receiver),
    ):
        if after is None:
            lines.append(f"\n     ✗ {what} never came", "red")
            continue
        own = source == owner.address
        lines.append_text(Text.assemble("\n     ", ("✓", "green") if own else ("✗", "red")))
        lines.append(f" {what} after {after * 1000:.1f} ms, from ")
        lines.append(source, colour(source) if own else "red")
        lines.append(f", {owner.nick}'s own address" if own else f", not {owner.nick}'s address")
    return lines


def farewell(outcome: Outcome) -> RenderableType:
    """Who quit, and when the other floor knew."""
    if not outcome.quitter or not outcome.missed:
        return Text("   nobody on 2F noticed", "red")
    slowest = max(outcome.missed.values()) - outcome.quit_at
    text = f" {outcome.quitter.nick} (1F) is off all {len(outcome.missed)} lists of 2F after "
    return Text.assemble("   ", ("✓", "green"), text, f"{slowest * 1000:.1f} ms")


def verdict(outcome: Outcome, columns: int) -> RenderableType:
    """The end: all well, or what was not."""
    problems = outcome.problems()
    if problems:
        return failed(problems, columns)
    text = Text.assemble(
        ("Two floors, one relay, no setting on any client.\n", "bold"),
        (f"Took {outcome.seconds:.1f} s; nothing is left behind. ", "dim"),
        ("On a real box: make install (README)", "dim"),
        justify="center",
    )
    return _fit(Panel(text, border_style="green"), columns)


def failed(problems: Sequence[str], columns: int) -> RenderableType:
    """What was not well."""
    lines = Group(*(Text(f"✗ {text}") for text in problems))
    return _fit(Panel(lines, border_style="red", title="failed"), columns)


def colour(address: str) -> str:
    """Of the floor of an address."""
    return COLOURS[floor(address)]


def _fit(content: RenderableType, columns: int) -> RenderableType:
    from rich.constrain import Constrain

    return Constrain(content, columns)
