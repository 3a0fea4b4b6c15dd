"""``camrelay demo``: two floors, or three sites, meet across a router, on this machine, for real.

This process only looks for permission and starts itself again inside fresh namespaces (``--inside``); the
demo is played and shown there.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from rich.console import Console

    from camrelay.cli.demo_scene import Scene
    from camrelay.cli.demo_stage import Stage

app = subcommand()

PAUSE = 1.2  # seconds after each act on a terminal: to be read, not only to be done


@app.command()
def demo(
    config: ConfigOption = None,
    sites: Annotated[
        int,
        typer.Option("--sites", min=2, max=3, help="2: one relay for two floors. 3: three relays, a fleet."),
    ] = 2,
    as_json: JsonOption = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", hidden=True, help="Save what is shown as a picture.")
    ] = None,
    inside: Annotated[bool, typer.Option("--inside", hidden=True)] = False,
) -> int:
    """See it work: two segments, a router and six IPMSG clients on this machine, and one camrelay.

    Everything lives in network namespaces of its own and vanishes at the end: nothing is installed, nothing
    leaves this machine, nothing is left behind. The relay is the real daemon, the router forwards packets and
    passes no broadcast, the clients are small built-in ones that list whom they hear. Takes some five
    seconds. With --sites 3 three relays, one at each site, become a fleet by `peer invite` and `peer join`, and
    one of them is killed and comes back: some twenty seconds. Needs iproute2, and root or user namespaces. Makes a
    configuration of its own: --config is not used.

    \b
    Examples:
      camrelay demo
      camrelay demo --sites 3
      camrelay demo --json | jq .messages

    \b
    Exit codes:
      0  everybody saw everybody, messages and receipts arrived
      1  somebody did not, or this system does not allow it (one line says what is missing)
      2  wrong usage
    """
    import sys

    if inside:
        return _play_fleet(as_json, svg) if sites > 2 else _play(as_json, svg)
    from camrelay.cli import demo_lab

    words = [sys.executable, "-m", "camrelay", "demo", "--inside", "--sites", str(sites)]
    if as_json:
        words.append("--json")
    if svg:
        words += ["--svg", str(svg.absolute())]
    return demo_lab.enter(words)


def _play(as_json: bool, svg: Path | None) -> int:
    """All acts, shown as they happen (or one JSON document at the end)."""
    from camrelay.cli import demo_view
    from camrelay.cli.demo_lab import Lab
    from camrelay.cli.demo_outcome import document
    from camrelay.cli.demo_stage import Stage

    out = demo_view.screen(quiet=as_json, record=bool(svg))
    out.print(demo_view.opening())
    stage = Stage(Lab())
    try:
        _acts(stage, out)
    finally:
        stage.end()
    out.print(demo_view.verdict(stage.outcome, demo_view.width(out)))
    return _end(out, stage, stage.outcome.problems(), document(stage.outcome), as_json, svg)


def _play_fleet(as_json: bool, svg: Path | None) -> int:
    """The same with three sites."""
    from camrelay.cli import demo_fleet_view, demo_view
    from camrelay.cli.demo_fleet import acts
    from camrelay.cli.demo_fleet_outcome import document
    from camrelay.cli.demo_fleet_stage import FleetStage
    from camrelay.cli.demo_lab import Lab

    out = demo_view.screen(quiet=as_json, record=bool(svg))
    out.print(demo_fleet_view.opening())
    stage = FleetStage(Lab())
    try:
        acts(stage, out, PAUSE)
    finally:
        stage.end()
    out.print(demo_fleet_view.verdict(stage.outcome, demo_view.width(out)))
    return _end(out, stage, stage.outcome.problems(), document(stage.outcome), as_json, svg)


def _end(
    out: Console, scene: Scene, problems: list[str], document: dict[str, Any], as_json: bool, svg: Path | None
) -> int:
    """What is left to be said or written; the exit code."""
    from camrelay.cli import demo_view
    from camrelay.cli.show import print_json

    if problems:
        out.print("\n".join(["the relay's last words:", *scene.log()]), markup=False)
    if as_json:
        print_json(document)
    if svg:
        demo_view.save(out, svg)
    return 1 if problems else 0


def _acts(stage: Stage, out: Console) -> None:
    """Each act, and what it showed; on a terminal with pauses to look at it."""
    from rich.live import Live

    from camrelay.cli import demo_view as view

    columns, outcome = view.width(out), stage.outcome
    live_shown = out.is_terminal and not out.record and not out.quiet
    pause = PAUSE if live_shown else 0.0
    out.print(view.network(columns))
    out.print(view.heading(1, "Before: all have said hello by broadcast. The other floor has heard nothing."))
    stage.before()
    out.print(view.windows(outcome, columns, after=False))
    stage.rest(pause)
    out.print(view.heading(2, "camrelay starts on 1F, and asks the addresses of 2F who is there."))
    if live_shown:
        with Live(console=out, transient=True, auto_refresh=False) as live:
            stage.on_change = lambda: live.update(view.windows(outcome, columns, after=True), refresh=True)
            stage.relay()
            stage.on_change = lambda: None
    else:
        stage.relay()
    out.print(view.windows(outcome, columns, after=True))
    out.print(view.pairs(outcome))
    stage.rest(pause)
    out.print(view.heading(3, "Messages go from client to client; the relay carries none of them."))
    stage.messages()
    for one in outcome.deliveries:
        out.print(view.delivery(one, view.colour))
    stage.rest(pause)
    out.print(view.heading(4, "One client quits."))
    stage.farewell()
    out.print(view.farewell(outcome))
