"""``camrelay sync``: compare rosters with the other relays now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

app = subcommand()

WORDS = {
    "equal": "in step",
    "told": "has all of our users",
    "behind": "not done yet",
    "away": "no link",
}


@app.command()
def sync(
    peers: Annotated[
        list[str] | None, typer.Argument(metavar="PEER", help="As `peer list` shows it; all of them if none.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare rosters with the other relays now, instead of when it is due, and repair what differs.

    Changes travel at once anyway and every two hours all is compared ([peers] sync_every): this is for impatience
    and for doubt. Only root and the daemon's own user may do this.

    \b
    Examples:
      sudo camrelay sync
      sudo camrelay sync branch-2
      sudo camrelay sync --json

    \b
    Exit codes:
      0  done with all of them
      1  some are not linked or not done yet, there is no fleet, or not allowed
      2  wrong usage or configuration (no such relay)
      3  the daemon is not running
    """
    from camrelay.cli.asking import result
    from camrelay.cli.show import clean, print_json

    found: list[dict[str, Any]] = result(config, {"do": "sync", "peers": peers or []})
    if as_json:
        print_json(found)
    else:
        width = max(len(clean(row["name"])) for row in found)
        for row in found:
            users = f"{row['users']} {'user' if row['users'] == 1 else 'users'} there"
            owed = f", {row['owed']} of 256 parts to go" if row["owed"] else ""
            print(f"{clean(row['name']):<{width}}  {WORDS[row['state']]}{owed}, {users}")
    return 0 if all(row["state"] in ("equal", "told") for row in found) else 1
