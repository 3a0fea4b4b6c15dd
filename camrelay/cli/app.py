"""The typer application: names all subcommands, imports the one that is used.

The only module that knows typer's classes; the others know ``typer.Typer``, ``Option`` and ``Argument``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, ClassVar

import typer
from typer import core
from typer import main as build

from camrelay import __version__
from camrelay.errors import UsageError

# Subcommand -> what it does, in one line. The module camrelay.cli.<name> holds it as ``app``, "-" written "_".
COMMANDS = {
    "run": "Run the relay (this is what systemd starts).",
    "status": "Show whether it works: segments, users, drops, warnings.",
    "users": "List the users it knows, or watch them come and go.",
    "sweep": "Ask the addresses of the remote segments now.",
    "search": "Look for users in any segment, and keep them.",
    "peer": "Invite, join, list and remove the relays of a fleet.",
    "sync": "Compare rosters with the other relays now.",
    "doctor": "Check this box, and whether speaking as others arrives.",
    "listen": "Hear relays from any PC, and answer a doctor's question.",
    "packet-trace": "Name what keeps users apart (short: trace).",
    "report": "Pack all that a bug report needs into one file.",
    "config": "Check, show or create the configuration file.",
    "firewall": "List what must be open between the segments.",
    "demo": "See two segments meet across a router, on this machine.",
}
# Short names, which work like the long ones and are not listed.
ALIASES = {"trace": "packet-trace"}

HELP = """
Make IP Messenger (IPMSG) users on different LAN segments see each other.

One camrelay in a segment announces the users of the other segments there, under their own addresses; messages
and files then go from client to client, not through the relay. No setting on any client.

A first look: camrelay demo. First steps on a real box: edit /etc/camrelay/camrelay.toml (make install puts a
sample there, camrelay config init writes one anywhere), camrelay config check,
systemctl enable --now camrelay.socket camrelay.service, camrelay status.
"""

EPILOG = (
    "Exit codes: 0 all well, 1 something found or failed, 2 wrong usage or configuration,"
    " 3 daemon not running. Every listing takes --json. Each subcommand has its own --help with examples."
)


class Lazy(core.TyperGroup):
    """Has a name and a line of help for every subcommand; the body is loaded when a word names it."""

    lines: ClassVar[dict[str, str]] = COMMANDS
    aliases: ClassVar[dict[str, str]] = ALIASES

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: core.TyperCommand(name, short_help=line) for name, line in self.lines.items()}
        self.commands |= {alias: core.TyperCommand(alias, hidden=True) for alias in self.aliases}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(self.aliases.get(str(name), str(name))), rest

    def load(self, name: str) -> Any:
        """The subcommand ``name`` (a key of ``lines``), ready to be invoked."""
        return load(name)


def load(module: str, name: str = "") -> Any:
    """What ``camrelay.cli.<module>`` holds as ``app``, ready to be invoked; ``name``: that one of its commands."""
    found = build.get_command(import_module(f"camrelay.cli.{module.replace('-', '_')}").app)
    several: dict[str, Any] = getattr(found, "commands", {})
    return several.get(name, found)


def group() -> Any:
    """The whole command, with lazy subcommands and shell completion."""
    app = typer.Typer(
        name="camrelay",
        cls=Lazy,
        help=HELP,
        epilog=EPILOG,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True)(_top)
    return build.get_command(app)


def _top(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"camrelay {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


def invoke(args: list[str]) -> int:
    """Parse ``args`` and run what they name. Raises CamrelayError; bad words become UsageError."""
    try:
        result = group().main(args=args, prog_name="camrelay", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        said = error.format_message().rstrip(".")
        if said == "Missing command" and context:
            said += f": {', '.join(context.command.commands)}"
        raise UsageError(said + hint) from error
    except typer.Abort:
        return 1
    return result if isinstance(result, int) else 0
