"""``camrelay firewall``: what must be open between the segments, as network people file it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from camrelay.cli.openings import Openings, Rule

app = subcommand()


class Format(StrEnum):
    """What can be printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    NFT = "nft"
    NETSH = "netsh"


@app.command()
def firewall(
    config: ConfigOption = None,
    form: Annotated[
        Format,
        typer.Option("--format", "-f", help="A table, a Markdown table, nftables rules, Windows commands."),
    ] = Format.TEXT,
    as_json: JsonOption = False,
) -> int:
    """List what must be open between the segments: purpose, from, to, protocol, port.

    Made from the configuration and this machine's interfaces; the daemon need not run. Messages and files go
    from client to client, so the rules are between every two segments. nft is for a Linux router between
    them. netsh is for Windows PCs whose firewall rule for IP Messenger knows only LocalSubnet.

    \b
    Examples:
      camrelay firewall
      camrelay firewall --format markdown > request-for-the-network-team.md
      camrelay firewall --format nft | ssh router nft -f -
      camrelay firewall --format netsh > open-ipmsg.cmd

    \b
    Exit codes:
      0  printed
      1  there are not two segments: nothing to open
      2  wrong usage or configuration
    """
    from camrelay.cli import openings
    from camrelay.cli.show import print_json
    from camrelay.errors import CamrelayError

    found = _found(config)
    if not found.rules:
        raise CamrelayError(
            "nothing to open: there are not two segments; name the remote ones in [remote] segments "
            "(camrelay config check shows what is known)"
        )
    if as_json:
        print_json(found.document())
    elif form is Format.NFT:
        print(openings.nft(found), end="")
    elif form is Format.NETSH:
        print(openings.netsh(found), end="")
    elif form is Format.MARKDOWN:
        print(_markdown(found), end="")
    else:
        _print(found)
    return 0


def _found(config: Path | None) -> Openings:
    from camrelay.cli.openings import openings
    from camrelay.config import load
    from camrelay.daemon import interfaces

    loaded = load(config)
    mine = interfaces.usable(loaded.relay.interfaces, loaded.also())
    networks = [network for one in mine for network in (one.network, *one.also)]
    return openings(networks, [one.address for one in mine], loaded.remote.segments)


def _cells(rule: Rule, between: str) -> tuple[str, ...]:
    ports = f"{rule.source_port} {'<->' if rule.both and rule.source_port != 'any' else '->'} {rule.port}"
    ways = "both" if rule.both else "one"
    return (
        rule.purpose,
        between.join(rule.source),
        between.join(rule.destination),
        ways,
        rule.protocol.upper(),
        ports,
    )


COLUMNS = ("purpose", "from", "to", "ways", "protocol", "ports")


def _markdown(found: Openings) -> str:
    from camrelay.cli.openings import NOTES

    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(rule, ", ") for rule in found.rules)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"* {note}" for note in NOTES)
    return f"## IP Messenger (IPMSG) between segments\n\n{table}\n\n{notes}\n"


def _print(found: Openings) -> None:
    from rich.constrain import Constrain
    from rich.table import Table
    from rich.text import Text

    from camrelay.cli.openings import NOTES
    from camrelay.cli.show import console, table

    out = console()
    made = table(*COLUMNS)
    for rule in found.rules:
        made.add_row(*_cells(rule, "\n"))
    out.print(made)
    out.line()
    grid = Table.grid(padding=(0, 1))
    for number, note in enumerate(NOTES, 1):
        grid.add_row(f"{number}.", Text(note))
    out.print(Constrain(grid, min(out.width, 100)))
