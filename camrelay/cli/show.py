"""How things are shown: tables for people, JSON for scripts, ages in words, strangers' text made harmless.

Piped, a table is as wide as its content, has no colour and nothing cut; NO_COLOR and a dumb terminal are
rich's business.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPED_WIDTH = 4000  # columns: no table of ours is wider, and rich pads nothing that does not expand


def console(*, stderr: bool = False) -> Console:
    """A console for stdout (or stderr) that cuts nothing when it is not a terminal."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=False)
    if not found.is_terminal:
        found.width = PIPED_WIDTH
    return found


def table(*columns: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """An empty table in the house's style; columns named in ``right`` are numbers.

    Numbers, and columns named in ``whole`` (addresses, names of relays, times), are not folded: the others give way.
    """
    from camrelay.cli.tables import HouseTable

    return HouseTable(*columns, right=right, whole=whole)


def listing(
    out: Console,
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    pairs: Sequence[Sequence[int]],
    right: Collection[str] = (),
    whole: Collection[str] = (),
) -> Table:
    """A table with a line for each row, or, where that has no room, several: then the columns of a pair share one."""
    from rich.text import Text

    rows = list(rows)
    made = table(*heads, right=right, whole=whole)
    for row in rows:
        made.add_row(*row)
    if fits(out, made):
        return made

    def shared(names: Collection[str]) -> list[str]:
        return ["\n".join(heads[n] for n in pair) for pair in pairs if all(heads[n] in names for n in pair)]

    made = table(
        *("\n".join(heads[n] for n in pair) for pair in pairs),
        right=shared(right),
        whole=shared([*whole, *right]),
    )
    for row in rows:
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
        made.add_row(*(Text("\n").join(texts[n] for n in pair) for pair in pairs))
    return made


def fits(out: Console, made: Table) -> bool:
    """Whether the table can be shown without folding a cell."""
    return out.measure(made, options=out.options.update(width=PIPED_WIDTH)).maximum <= out.width


def print_json(value: Any, *, lines: bool = False) -> None:
    """Write one JSON document; ``lines``: compact, on one line, at once."""
    text = json.dumps(value, ensure_ascii=False, indent=None if lines else 2)
    # C1 controls, which a terminal may obey and json leaves alone, can only be inside strings.
    print(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text), flush=lines)


def clean(text: str) -> str:
    """Text from the network, safe for a terminal: control and direction characters become a visible dot."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else "\N{MIDDLE DOT}" for c in text
    )


def age(seconds: float | None) -> str:
    """A duration in the two words a person needs: "12 s", "3 min", "2 h 5 min", "4 d"."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    hours, minutes = divmod(whole // 60, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()
