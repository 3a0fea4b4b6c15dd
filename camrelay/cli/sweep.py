"""``camrelay sweep``: ask the remote segments now, and watch it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from collections.abc import Iterator

app = subcommand()


@app.command()
def sweep(
    segments: Annotated[
        list[str] | None,
        typer.Argument(metavar="SEGMENT", help="As in the configuration; all of them if none."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask every address of the remote segments now, instead of when it is due.

    The pace stays the configured one (sweep_rate, 150 addresses per second by default), so that routers keep
    up. Only root and the daemon's own user may do this.

    \b
    Examples:
      camrelay sweep
      camrelay sweep '192.168.2.*' 10.1.5.20
      camrelay sweep --json

    \b
    Exit codes:
      0  done, at least one address answered
      1  nobody answered, nothing to ask, or not allowed
      2  wrong usage or configuration (an unknown segment)
      3  the daemon is not running
    """
    from camrelay.cli.asking import answers
    from camrelay.cli.show import print_json

    found = _follow(answers(config, {"do": "sweep", "segments": segments or []}))
    if as_json:
        print_json(found)
    elif not found["asked"]:
        print("nothing to ask: the configuration names no remote segment")
    else:
        print(f"{found['asked']} addresses asked in {found['seconds']:.1f} s, {found['answered']} answered")
    return 0 if found["answered"] else 1


def _follow(stream: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """Read to the result; on a terminal draw the progress on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from camrelay.cli.show import console
    from camrelay.errors import ControlError

    out = console(stderr=True)
    columns = (
        TextColumn("asking"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[answered]} answered"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=None, answered=0)
        for what, value in stream:
            if what == "result":
                return dict(value)
            done = value["total"] - value["left"]
            progress.update(task, total=value["total"], completed=done, answered=value["answered"])
    raise ControlError("the daemon ended before the sweep did")
