"""The options that every subcommand has, worded once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CAMRELAY_CONFIG",
        metavar="FILE",
        help="Configuration file, /etc/camrelay/camrelay.toml unless given; it names the control socket.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of a table for people.")]


class Language(StrEnum):
    """What is said in."""

    EN = "en"
    JA = "ja"


LangOption = Annotated[
    Language | None, typer.Option("--lang", help="Language of what is said; by your locale unless given.")
]


def subcommand(**attributes: object) -> typer.Typer:
    """An empty typer application in the house's manner: no rich help, no completion options of its own."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **attributes,  # type: ignore[arg-type]
    )
