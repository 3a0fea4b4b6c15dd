"""``camrelay peer``: who is in the fleet, and how relays come into it and go out."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

PATIENCE = 1.0  # seconds between two looks whether the invited relay has come
LONGEST_TOKEN = 8192  # characters read

app = subcommand(
    help="The other relays of the fleet: invite, join, list, remove, rotate. One `peer invite` on any relay"
    " and one `peer join` on the new box are enough, however many relays there are."
)


@app.command(short_help="Let a new relay into the fleet: print a token for it.")
def invite(
    config: ConfigOption = None,
    name: Annotated[
        str,
        typer.Option("--for", metavar="NAME", help="Whom it is for: shown in `peer list` until it has come."),
    ] = "",
    wait: Annotated[
        bool,
        typer.Option("--wait", "-w", help="Wait until the new relay has come, and show its key in words."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Print a token with which one new relay can join the fleet within an hour.

    Any member can invite; the first one founds the fleet with this. The token is a secret: it goes to the new box
    through ssh or by hand, where `camrelay peer join` reads it. The token alone is written to stdout. Only root
    and the daemon's own user may do this.

    \b
    Examples:
      sudo camrelay peer invite --for branch-2 --wait
      sudo camrelay peer invite | ssh root@branch-2 camrelay peer join
      sudo camrelay peer invite --json | jq -r .token

    \b
    Exit codes:
      0  the token is printed (with --wait: and the new relay has come)
      1  not possible or not allowed; with --wait: nobody came
      2  wrong usage or configuration
      3  the daemon is not running
    """
    import sys

    from camrelay.cli.asking import result
    from camrelay.cli.show import age, clean, print_json

    found = result(config, {"do": "invite", "name": name})
    if as_json:
        print_json(found)
    else:
        whom = f" for {clean(found['name'])}" if found["name"] else ""
        print(f"Invitation{whom}, good once and for {age(found['left'])}.", file=sys.stderr)
        print(f"This relay: {clean(found['relay'])}, its key in words: {found['words']}", file=sys.stderr)
        print("On the new box run `camrelay peer join` as root and paste this line:", file=sys.stderr)
        print(found["token"], flush=True)
    return _wait(config, found["id"]) if wait else 0


def _wait(config: Path | None, invitation: str) -> int:
    """Look until the invited relay has come or cannot any more."""
    import sys
    import time

    from camrelay.cli.asking import result
    from camrelay.cli.show import clean

    while True:
        fleet = result(config, {"do": "peers"})
        one = next((one for one in fleet["invitations"] if one["id"] == invitation), None)
        if one is not None and one["used_by"]:
            words = next((row["words"] for row in fleet["peers"] if row["name"] == one["used_by"]), "")
            print(f"{clean(one['used_by'])} has joined, its key in words: {words}", file=sys.stderr)
            return 0
        if one is None or one["left"] <= 0:
            print("nobody came with this token in time", file=sys.stderr)
            return 1
        time.sleep(PATIENCE)


@app.command(short_help="Become a member of a fleet, with a token of `peer invite`.")
def join(
    config: ConfigOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", "-t", metavar="FILE", help="Read the token from here; - is stdin."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Join a fleet with the token that `camrelay peer invite` printed on one of its relays.

    The token is asked for (it is not shown while you paste it), or read from stdin or a file; never give it on the
    command line, where everybody can read it. All other relays hear of this one by themselves. Compare the words
    on both screens: if they are the same, nobody sits between. Only root and the daemon's own user may do this.

    \b
    Examples:
      sudo camrelay peer join
      sudo camrelay peer join --token-file /root/token
      ssh root@hq camrelay peer invite | sudo camrelay peer join

    \b
    Exit codes:
      0  this relay is in the fleet
      1  the token is used, expired or unknown, the other relay cannot be reached, or this one is in a fleet
      2  what was given is no token (mistyped or cut off), or wrong usage or configuration
      3  the daemon is not running
    """
    from camrelay.cli.asking import result
    from camrelay.cli.show import clean, print_json
    from camrelay.daemon import token

    text = _read_token(token_file)
    token.read(text)  # a mistake is found before anybody is asked
    found = result(config, {"do": "join", "token": text})
    if as_json:
        print_json(found)
        return 0
    relays = found["relays"]
    print(f"Joined the fleet of {clean(found['inviter'])}: {relays} relays with this one.")
    width = max(len(clean(found[name])) for name in ("inviter", "name"))
    print(f"  {clean(found['inviter']):<{width}}  {found['inviter_words']}")
    print(f"  {clean(found['name']):<{width}}  {found['words']}  (this relay)")
    print("The same words must stand on the other side: camrelay peer list --keys")
    return 0


def _read_token(path: Path | None) -> str:
    """From the file, from stdin, or typed without being shown."""
    import sys
    from getpass import getpass

    from camrelay.errors import UsageError

    if path is not None and str(path) != "-":
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                return file.read(LONGEST_TOKEN)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if path is not None or not sys.stdin.isatty():
        return sys.stdin.read(LONGEST_TOKEN)
    try:
        return getpass("Token (not shown): ")
    except EOFError:
        return ""


@app.command("list", short_help="List the relays of the fleet and how it is with each.")
def list_(
    config: ConfigOption = None,
    keys: Annotated[bool, typer.Option("--keys", "-k", help="Show ids and keys in words instead.")] = False,
    as_json: JsonOption = False,
) -> int:
    """List the other relays of the fleet: linked or not and why, since when, users, traffic.

    States: linked; connecting (not tried yet); away (was linked, cannot be reached now); unreachable (was never
    linked since this relay started); refused (reached, but one side does not accept the other: see why).
    Below: open invitations, and what a rotation of the key waits for.

    \b
    Examples:
      camrelay peer list
      camrelay peer list --keys
      camrelay peer list --json | jq -r '.peers[] | select(.state != "linked") | .name'

    \b
    Exit codes:
      0  all other relays are linked
      1  some are not, or this relay is in no fleet
      2  wrong usage or configuration
      3  the daemon is not running
    """
    from camrelay.cli.asking import result
    from camrelay.cli.fleetview import print_fleet, print_keys
    from camrelay.cli.show import console, print_json

    found = result(config, {"do": "peers"})
    if as_json:
        print_json(found)
    elif keys:
        print_keys(console(), found)
    else:
        print_fleet(console(), found)
    return 0 if found["peers"] and all(row["state"] == "linked" for row in found["peers"]) else 1


@app.command(short_help="Take a relay out of the fleet, everywhere and for good.")
def remove(
    peer: Annotated[
        str, typer.Argument(metavar="NAME|ID", help="As `peer list` shows it, or how its id begins.")
    ],
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Take a relay out of the fleet. Every member hears of it and closes its link at once.

    The removed relay is told, goes on alone, and can only come back with a new token. Name this very relay to
    leave the fleet. Do this with a relay that is lost or stolen: its key opens nothing any more. Only root and the
    daemon's own user may do this.

    \b
    Examples:
      sudo camrelay peer remove branch-2
      sudo camrelay peer remove 3fa2 --yes

    \b
    Exit codes:
      0  removed
      1  not allowed, or you said no
      2  no such relay, or wrong usage or configuration
      3  the daemon is not running
    """
    import sys

    from camrelay.cli.asking import result
    from camrelay.cli.show import print_json
    from camrelay.errors import UsageError

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is there to be asked: say --yes")
        if not typer.confirm(f"Remove {peer} from the fleet, everywhere and for good?", err=True):
            return 1
    found = result(config, {"do": "remove", "peer": peer})
    if as_json:
        print_json(found)
    else:
        _print_removed(found)
    return 0


def _print_removed(found: dict[str, Any]) -> None:
    from camrelay.cli.show import clean

    name, told = clean(found["name"]), found["told"]
    became = "has left the fleet and runs alone" if found["ourselves"] else "is removed"
    print(f"{name} {became}; {told} linked {'relay' if told == 1 else 'relays'} told.")
    if found["ourselves"] and not told:
        print(f"No other relay was linked: run `camrelay peer remove {name}` on one of them too.")


@app.command(short_help="Give this relay a new key.")
def rotate(config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Give this relay a new key: announced over the live links, in use when every member has taken it.

    Its id and everything else stay. A member that is away is waited for, over restarts too, because it knows no
    other key than the old one; `peer list` shows for whom. Remove a member that will not come back. Only root and the
    daemon's own user may do this.

    \b
    Examples:
      sudo camrelay peer rotate

    \b
    Exit codes:
      0  the new key is in use, or will be when those named have taken it
      1  not possible or not allowed
      2  wrong usage or configuration
      3  the daemon is not running
    """
    from camrelay.cli.asking import result
    from camrelay.cli.show import clean, print_json

    found = result(config, {"do": "rotate"})
    if as_json:
        print_json(found)
        return 0
    print(f"New key in words: {found['words']}")
    if found["awaited"]:
        print(f"In use as soon as these have taken it: {clean(', '.join(found['awaited']))}")
    else:
        print("It is in use.")
    return 0
