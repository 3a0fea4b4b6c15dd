"""``camrelay packet-trace`` (short: ``trace``): names its subcommands; each is loaded when it is used."""

from __future__ import annotations

from typing import Any, ClassVar

from camrelay.cli import app as door
from camrelay.cli.options import subcommand

# Subcommand -> the module camrelay.cli.<...> that holds it, and what it does in one line.
PARTS = {
    "watch": ("trace_watch", "Show the datagrams that come in and go out, as they do."),
    "host": ("trace_host", "Find out why a host or user cannot be seen."),
    "path": ("trace_pair", "Find out what keeps two users apart, from both sides."),
    "peer": ("trace_pair", "Measure the way between two relays, in both directions."),
    "why": ("trace_why", "Say where a user is known from, who was told of it, and when it goes."),
}


class Parts(door.Lazy):
    """The subcommands above."""

    lines: ClassVar[dict[str, str]] = {name: line for name, (_, line) in PARTS.items()}
    aliases: ClassVar[dict[str, str]] = {}

    def load(self, name: str) -> Any:
        """The subcommand ``name``, ready to be invoked."""
        return door.load(PARTS[name][0], name)


app = subcommand(
    cls=Parts,
    help='Name what keeps users apart, in plain words, with the next step to take. "Taro cannot see Hanako": begin with'
    " `trace host` and her address; between two sites use `trace path TARO HANAKO`.",
)


@app.callback()
def trace() -> None:
    """Without this typer would take an application without commands of its own for a mistake."""
