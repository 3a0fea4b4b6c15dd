"""The table of this house: on a narrow screen an address stays whole, and prose gives way.

Rule kept here: nothing is cut. Where not even the columns that stay whole have room, they are folded, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from camrelay.cli.wrapping import Prose

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console, ConsoleOptions, RenderResult


class HouseTable(Table):
    """Columns are headings; those named in ``right`` are numbers, those in ``whole`` are not folded, either."""

    def __init__(self, *columns: str, right: Collection[str], whole: Collection[str]) -> None:
        super().__init__(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        for name in columns:
            self.add_column(
                name if name in whole or name in right else Prose(name),
                justify="right" if name in right else "left",
                overflow="fold",
                no_wrap=name in whole or name in right,
            )

    def add_row(self, *cells: Any, **more: Any) -> None:
        """A row; text in a column that gives way is prose."""
        super().add_row(
            *(
                Prose(cell) if isinstance(cell, str | Text) and not column.no_wrap else cell
                for cell, column in zip(cells, self.columns, strict=True)
            ),
            **more,
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._least(console, options) > options.max_width:
            for column in self.columns:
                column.no_wrap = False
        yield from super().__rich_console__(console, options)

    def _least(self, console: Console, options: ConsoleOptions) -> int:
        """How narrow it can be with its whole columns whole."""
        least = 2 * (len(self.columns) - 1)  # padding, and the place of the line between columns
        for column in self.columns:
            sizes = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
            least += max(size.maximum if column.no_wrap else size.minimum for size in sizes)
        return least
