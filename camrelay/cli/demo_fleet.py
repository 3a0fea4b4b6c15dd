"""The acts of ``camrelay demo --sites 3`` in their order, and what each of them showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live

from camrelay.cli import demo_fleet_view as view
from camrelay.cli.demo_fleet_outcome import DIES, JOINS
from camrelay.cli.demo_view import delivery, heading, width

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from camrelay.cli.demo_fleet_stage import FleetStage


def acts(stage: FleetStage, out: Console, pause: float) -> None:
    """Each act, and what it showed; on a terminal with pauses to look at it."""
    columns, outcome = width(out), stage.outcome
    live_shown = out.is_terminal and not out.record and not out.quiet
    pause = pause if live_shown else 0.0

    def waiting(play: Callable[[], object], shown: Callable[[], RenderableType]) -> None:
        """An act; on a terminal what changes is shown while it does."""
        if not live_shown:
            play()
            return
        with Live(console=out, transient=True, auto_refresh=False) as live:
            stage.on_change = lambda: live.update(shown(), refresh=True)
            play()
            stage.on_change = lambda: None

    out.print(view.network(columns))
    out.print(heading(1, "Before: a relay runs at each site, and none knows of another."))
    stage.before()
    out.print(view.windows(outcome, columns, after=False))
    out.print(view.ready(outcome))
    stage.rest(pause)
    out.print(heading(2, "Two joins make a fleet of three. Any member may invite."))
    for inviter, newcomer in JOINS:
        out.print(view.joined(stage.join(inviter, newcomer)))
    waiting(stage.meet, lambda: view.windows(outcome, columns, after=True))
    out.print(view.windows(outcome, columns, after=True))
    out.print(view.pairs(outcome))
    stage.rest(pause)
    out.print(heading(3, "Messages go from client to client; no relay carries any of them."))
    stage.messages()
    for one in outcome.deliveries:
        out.print(delivery(one, view.colour))
    stage.rest(pause)
    out.print(heading(4, f"The relay of {DIES} is killed (kill -9)."))
    waiting(stage.outage, lambda: view.outage(outcome, waiting=True))
    out.print(view.outage(outcome))
    stage.rest(pause)
    out.print(heading(5, "It is started again, and what happened meanwhile is put right."))
    waiting(stage.back, lambda: view.back(outcome, waiting=True))
    out.print(view.back(outcome))
