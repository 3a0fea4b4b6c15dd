"""What ``camrelay run`` does once its words are understood; imports no typer, which is 60 ms and 12 MB."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from camrelay.config import BadConfig, load

if TYPE_CHECKING:
    from collections.abc import Sequence


def plainly_run(words: Sequence[str]) -> bool:
    """Is this ``run``, with a configuration file or without, as systemd says it? Anything else is for typer."""
    return list(words) == ["run"] or (
        len(words) == 3 and words[0] == "run" and words[1] in ("-c", "--config")
    )


def run(words: Sequence[str]) -> int:
    """Serve as these words, which are ``plainly_run``, say."""
    named = words[2] if len(words) == 3 else os.environ.get("CAMRELAY_CONFIG")
    return serve(Path(named) if named else None)


def serve(config: Path | None) -> int:
    """Run the daemon with this configuration file; the exit code. Mistakes in it are listed, a line each."""
    try:
        loaded = load(config)
    except BadConfig as error:
        for problem in error.problems:
            print("camrelay:", problem, file=sys.stderr)
        return 2
    from camrelay.daemon import service

    service.run(loaded)
    return 0
