"""``camrelay config``: check, show and create the configuration file. Nothing here needs the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from camrelay.config import Config
    from camrelay.daemon.interfaces import Choice

app = subcommand(help="Check, show or create the configuration file. None of these needs the daemon.")


@app.command(short_help="List its mistakes, and what it amounts to on this machine.")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Check the configuration file and show what it amounts to on this machine.

    Every mistake is listed with its line, what was expected and what to write. Then: which interfaces are
    used and why (not), and which segments follow from that.

    \b
    Examples:
      camrelay config check
      camrelay config check && sudo systemctl reload camrelay

    \b
    Exit codes:
      0  usable
      1  usable, but no interface of this machine is: users here cannot be served
      2  the file has mistakes, or wrong usage
    """
    from camrelay.cli.show import console, print_json
    from camrelay.config import BadConfig, load

    try:
        loaded = load(config)
    except BadConfig as error:
        if as_json:
            print_json({"ok": False, "path": _path(config), "problems": list(error.problems)})
        else:
            print("\n".join(error.problems))
        return 2
    found = effective(loaded)
    if as_json:
        print_json(found)
    else:
        _print(console(), found)
    return 0 if found["ok"] else 1


@app.command(short_help="Print what is in force, defaults included.")
def show(config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Print the configuration in force, defaults included, as TOML (or JSON).

    \b
    Examples:
      camrelay config show
      camrelay config show --json | jq .remote.segments

    \b
    Exit codes:
      0  printed
      2  the file has mistakes, or wrong usage
    """
    import tomllib

    from camrelay.cli.show import print_json
    from camrelay.config import as_toml, load

    text = as_toml(load(config))
    if as_json:
        print_json(tomllib.loads(text))
    else:
        print(text, end="")
    return 0


@app.command(short_help="Write a commented file to start from.")
def init(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Where to; as --config unless given.")
    ] = None,
    config: ConfigOption = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it instead of writing a file.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")] = False,
) -> int:
    """Write a configuration file to start from: every key commented, with its default and the reason for it.

    \b
    Examples:
      sudo camrelay config init
      camrelay config init ./camrelay.toml
      camrelay config init --stdout | less

    \b
    Exit codes:
      0  written
      1  cannot be written
      2  the file exists (--force replaces it), or wrong usage
    """
    from camrelay.config import DEFAULT_PATH, sample
    from camrelay.errors import UsageError

    if stdout:
        print(sample(), end="")
        return 0
    target = path or config or Path(DEFAULT_PATH)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(sample())
    except FileExistsError:
        raise UsageError(f"{target} exists: --force replaces it, --stdout only prints") from None
    print(f"{target} written: name the remote segments in it, then: camrelay config check")
    return 0


def _path(config: Path | None) -> str:
    import os

    from camrelay.config import DEFAULT_PATH, ENVIRONMENT

    return str(config or os.environ.get(ENVIRONMENT) or DEFAULT_PATH)


def effective(loaded: Config) -> dict[str, Any]:
    """What a good configuration amounts to here: {ok, path, problems, notes, interfaces, segments}."""
    from camrelay.daemon import interfaces

    choices = interfaces.explain(loaded.relay.interfaces, loaded.also())
    return {
        "ok": any(choice.used for choice in choices),
        "path": loaded.path or None,
        "problems": [],
        "notes": list(loaded.notes),
        "interfaces": [choice._asdict() for choice in choices],
        "segments": segments([c for c in choices if c.used], loaded.also(), loaded.remote.segments),
    }


def segments(
    used: Sequence[Choice], also: Mapping[str, Sequence[str]], remote: Sequence[str]
) -> list[dict[str, str]]:
    """The segments that follow: own ones, then remote ones, of which those inside own ones are skipped."""
    from ipaddress import IPv4Network

    found = {one.network: f"through {one.name}, our address {one.address}" for one in used}
    for one in used:
        found |= dict.fromkeys(also.get(one.name, ()), f"also on the wire of {one.name}")
    rows = [{"name": name, "kind": "local", "how": how} for name, how in found.items()]
    for name in remote:
        network = IPv4Network(name.replace(".*", ".0/24"))
        here = next((own for own in found if network.subnet_of(IPv4Network(own))), None)
        how = f"inside {here}" if here else "254 addresses" if name.endswith("*") else "1 address"
        rows.append({"name": name, "kind": "skipped" if here else "remote", "how": how})
    return rows


def _print(out: Console, found: dict[str, Any]) -> None:
    from rich.text import Text

    from camrelay.cli.show import table

    if found["path"]:
        out.print(f"{found['path']}: no mistakes")
    for note in found["notes"]:
        out.print(Text.assemble(("note: ", "cyan"), note))
    out.line()
    made = table(
        "interface", "address", "network", "used", "why", whole=("interface", "address", "network", "used")
    )
    for row in found["interfaces"]:
        used = Text("yes", "green") if row["used"] else Text("no", "dim")
        made.add_row(row["name"], row["address"] or "-", row["network"] or "-", used, row["why"])
    out.print(made)
    out.line()
    made = table("segment", "kind", "how", whole=("segment",))
    for row in found["segments"]:
        made.add_row(row["name"], row["kind"], row["how"])
    out.print(made)
    if not found["ok"]:
        out.print(Text("no usable interface: users here cannot be served", "bold red"))
