"""What was measured, what closes the issue, what would be better: one table for people, one object for JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

MB = 1e6


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``limit`` and ``goal`` are None where nothing was promised."""

    part: str
    name: str
    measured: float
    unit: str = ""
    limit: float | None = None
    goal: float | None = None
    note: str = ""  # what the number depends on, in a few words
    more_is_better: bool = False

    @property
    def ok(self) -> bool | None:
        """Within the limit? None where there is none."""
        return self._reaches(self.limit)

    def _reaches(self, bound: float | None) -> bool | None:
        if bound is None:
            return None
        return self.measured >= bound if self.more_is_better else self.measured <= bound

    @property
    def verdict(self) -> str:
        """For people."""
        if self.ok is None:
            return ""
        if not self.ok:
            return "[bold red]not ok[/]"
        return "[bold green]ok, goal reached[/]" if self._reaches(self.goal) else "[green]ok[/]"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "part": self.part,
            "name": self.name,
            "measured": self.measured,
            "unit": self.unit,
            "limit": self.limit,
            "goal": self.goal,
            "more_is_better": self.more_is_better,
            "ok": self.ok,
            "note": self.note,
        }


def machine() -> dict[str, Any]:
    """What a figure depends on besides the program."""
    keys = ("rmem_max", "wmem_max", "rmem_default", "netdev_max_backlog")
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": _model(),
        "load_at_start": os.getloadavg()[0],
        **{f"net.core.{key}": int(Path(f"/proc/sys/net/core/{key}").read_text()) for key in keys},
        **{f"neigh.{key}": _threshold(key) for key in ("gc_thresh1", "gc_thresh2", "gc_thresh3")},
    }


def _threshold(key: str) -> int | None:
    """The neighbour table's bounds; only the first namespace shows them."""
    path = Path(f"/proc/sys/net/ipv4/neigh/default/{key}")
    return int(path.read_text()) if path.exists() else None


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def show(figures: Iterable[Figure], facts: dict[str, Any]) -> None:
    """The table, on standard output."""
    table = Table(
        title="camrelay bench", title_justify="left", caption=_caption(facts), caption_justify="left"
    )
    table.add_column("part")
    table.add_column("figure", overflow="fold")
    for column in ("measured", "limit", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("measured how", overflow="fold")
    part = ""
    for figure in figures:
        if part and figure.part != part:
            table.add_section()
        shown, part = "" if figure.part == part else figure.part, figure.part
        unit = f" {figure.unit}" if figure.unit else ""
        bounds = [
            f"{_number(bound)}{unit}" if bound is not None else "" for bound in (figure.limit, figure.goal)
        ]
        table.add_row(
            shown, figure.name, f"{_number(figure.measured)}{unit}", *bounds, figure.verdict, figure.note
        )
    console = Console(width=None if os.isatty(1) else 160)
    console.print(table)


def _number(value: float) -> str:
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _caption(facts: dict[str, Any]) -> str:
    words = {key: facts.get(key) for key in ("kernel", "python", "cpus", "load_at_start")}
    buffers = facts.get("buffers", {})
    shown = [f"{key.replace('_', ' ')} {value}" for key, value in words.items()]
    shown += [f"{name} buffer {size >> 10} KiB" for name, size in buffers.items()]
    shown.append(f"net.core.rmem_max {facts['net.core.rmem_max']}")
    return ", ".join(shown)
