"""``camrelay trace host``: why a host or user cannot be seen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand

app = subcommand()


@app.command()
def host(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|USER", help="An address, a nick, a logon, LOGON/HOST, or a host name by DNS."
        ),
    ],
    config: ConfigOption = None,
    no_far: Annotated[
        bool, typer.Option("--no-far", help="Only from this relay, not also from the one in its segment.")
    ] = False,
    via: Annotated[
        str,
        typer.Option("--from", metavar="PEER", help="Only from this relay of the fleet (see peer list)."),
    ] = "",
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find out why a host or user cannot be seen, or that nothing is wrong with it.

    Makes all checks at once, from here and from the relay in its own segment if the fleet has one there: name, route,
    neighbour (ARP), ping, UDP and TCP 2425, large datagrams, the way there, what client it is and whom that lists. Ends
    with what is wrong and what to do about it. A host that is well takes 1 to 5 seconds, a dead one up to 12, measuring
    the way to the other relay 5 to 10. The user there notices nothing.

    \b
    Examples:
      camrelay trace host 10.1.2.33
      camrelay trace host hanako
      camrelay trace host tanaka/PC-01 --lang ja
      camrelay trace host 10.1.2.33 --from branch-2
      camrelay trace host 10.1.2.33 --json | jq -r '.verdicts[].id'

    \b
    Exit codes:
      0  nothing is wrong, or only notes
      1  a warning or a fault was found, or too many traces are running
      2  wrong usage or configuration, or several users are meant
      3  the daemon is not running
    """
    from camrelay.cli.asking import answers
    from camrelay.cli.trace_view import show

    more: dict[str, Any] = {"target": target, "far": not no_far, "via": via}
    return show("host", answers(config, {"do": "host", "more": more}), lang, as_json)
