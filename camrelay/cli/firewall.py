"""``camrelay firewall``: what must be open between the segments, as network people file it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from camrelay.cli.openings import Openings, Rule
    from camrelay.trace.words import Language

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
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """List what must be open between the segments: purpose, from, to, protocol, port.

    Made from the configuration, this machine's interfaces and, if the daemon runs, the segments of the other relays
    of its fleet. Messages and files go from client to client, so the rules are between every two segments. nft is for a
    Linux router between them. netsh is for Windows PCs whose firewall rule for IP Messenger knows only LocalSubnet.

    \b
    Examples:
      camrelay firewall
      camrelay firewall --format markdown > request-for-the-network-team.md
      camrelay firewall --format markdown --lang ja
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
    from camrelay.cli.trace_view import language
    from camrelay.errors import CamrelayError

    found, spoken = _found(config), language(lang)
    if not found.rules:
        raise CamrelayError(
            "nothing to open: there are not two segments; name the remote ones in [remote] segments "
            "(camrelay config check shows what is known)"
        )
    if as_json:
        print_json(found.document(spoken))
    elif form is Format.NFT:
        print(openings.nft(found), end="")
    elif form is Format.NETSH:
        print(openings.netsh(found), end="")
    elif form is Format.MARKDOWN:
        print(_markdown(found, spoken), end="")
    else:
        _print(found, spoken)
    return 0


def _found(config: Path | None) -> Openings:
    from camrelay.cli.openings import openings
    from camrelay.config import load
    from camrelay.daemon import interfaces

    loaded = load(config)
    mine = interfaces.usable(loaded.relay.interfaces, loaded.also())
    networks = [network for one in mine for network in (one.network, *one.also)]
    return openings(networks, [one.address for one in mine], loaded.remote.segments, _told(config))


def _told(config: Path | None) -> list[str]:
    """Segments that other relays of the fleet are in, if the daemon runs and says so."""
    from camrelay.cli.asking import result
    from camrelay.errors import ControlError, NotRunning

    try:
        rows = result(config, {"do": "status"})["relay"]["segments"]
    except NotRunning:
        return []
    except ControlError as error:
        print(f"camrelay: {error}; segments of other relays are left out", file=sys.stderr)
        return []
    return [row["name"] for row in rows if row["kind"] == "remote" and not row["addresses"]]


def _cells(rule: Rule, between: str, lang: Language) -> tuple[str, ...]:
    from camrelay.cli.openings import PURPOSES

    both = BOTH[lang] if rule.both else ONE[lang]
    return (
        PURPOSES[lang][rule.purpose],
        between.join(rule.source),
        between.join(rule.destination),
        both,
        rule.protocol.upper(),
        f"{ANY[lang] if rule.source_port == 'any' else rule.source_port}"
        f" {'<->' if rule.both and rule.source_port != 'any' else '->'} {rule.port}",
    )


COLUMNS = {
    "en": ("purpose", "from", "to", "ways", "protocol", "ports"),
    "ja": ("用途", "送信元", "宛先", "方向", "プロトコル", "ポート"),
}
BOTH = {"en": "both", "ja": "双方向"}
ONE = {"en": "one", "ja": "片方向"}
ANY = {"en": "any", "ja": "任意"}
TITLE = {
    "en": "IP Messenger (IPMSG) between segments",
    "ja": "セグメント間の IP Messenger(IPMSG)通信",
}


def _markdown(found: Openings, lang: Language) -> str:
    from camrelay.cli.openings import NOTES

    heads = COLUMNS[lang]
    rows = [heads, ("---",) * len(heads), *(_cells(rule, ", ", lang) for rule in found.rules)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"* {note}" for note in NOTES[lang])
    return f"## {TITLE[lang]}\n\n{table}\n\n{notes}\n"


def _print(found: Openings, lang: Language) -> None:
    from rich.text import Text

    from camrelay.cli.openings import NOTES
    from camrelay.cli.show import console, listing
    from camrelay.cli.wrapping import wrap

    out = console()
    rows = [_cells(rule, "\n", lang) for rule in found.rules]
    pairs = ((0,), (1,), (2,), (4, 3), (5,))
    out.print(listing(out, COLUMNS[lang], rows, pairs, whole=COLUMNS[lang][1:]))
    out.line()
    for number, note in enumerate(NOTES[lang], 1):
        head = f"{number}. "
        out.print(Text(head + wrap(note, min(out.width, 100), len(head), len(head))))
