"""``make bench``: what camrelay costs and what it takes, and whether that is as good as promised.

    python -m tests.bench [--only PART ...] [--quick] [--json bench.json]

Needs root, iproute2, a C compiler and some 10 minutes (--quick: 2). Everything happens in network namespaces called
crb-*, which are gone at the end. Exit code: 0 all limits kept, 1 not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import netns
from tests.bench import fleet, fleet_world, roster, sweep, throughput
from tests.bench.figures import Figure, machine, show

PARTS = ("idle", "throughput", "roster", "sweep", "fleet", "mesh")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--quick", action="store_true", help="one round, 10 segments, 20,000 users")
    parser.add_argument(
        "--json", type=Path, default=Path("bench.json"), metavar="FILE", help="default: bench.json"
    )
    options = parser.parse_args()
    for reason in filter(None, (netns.missing(), _no_compiler())):
        parser.error(reason)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # namespaces and processes are ended, as with Ctrl-C
    facts = machine()
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="crb-") as scratch:
        for part in options.only:
            found, details[part] = _measure(part, options.quick, Path(scratch), details)
            figures += found
    facts["buffers"] = _buffers(details)
    show(figures, facts)
    result = {
        "machine": facts,
        "quick": options.quick,
        "figures": [f.as_json() for f in figures],
        "parts": details,
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    _say(f"everything is in {options.json}")
    return 0 if all(figure.ok is not False for figure in figures) else 1


def _measure(
    part: str, quick: bool, scratch: Path, before: dict[str, Any]
) -> tuple[list[Figure], dict[str, Any]]:
    """One part."""
    if part == "idle":
        return roster.measure_idle(scratch, 3 if quick else 9, 10.0 if quick else 30.0, _say)
    if part == "throughput":
        return throughput.measure(1 if quick else 5, 1.0 if quick else 2.0, _say)
    if part == "roster":
        idle = before.get("idle", {}).get("memory")
        return roster.measure(roster.ROSTERS[:1] if quick else roster.ROSTERS, scratch, idle, _say)
    if part == "fleet":
        return fleet.measure(fleet.USERS, 1 if quick else 5, _say)
    if part == "mesh":
        found = fleet_world.measure(100 if quick else 1000, say=_say)
        return fleet_world.figures(found), found
    segments = 10 if quick else sweep.SEGMENTS
    _say(f"sweep: {segments * 254:,} addresses, {segments * 254 / 150:.0f} s")
    return sweep.measure(segments, scratch / "sweep", _say)


def _buffers(details: dict[str, Any]) -> dict[str, int]:
    """Bytes that the kernel granted the daemon."""
    for found in details.values():
        if "buffers" in found:
            return dict(found["buffers"])
    return {}


def _no_compiler() -> str | None:
    return None if shutil.which("cc") else "a C compiler is needed (apt install gcc libc6-dev)"


def _say(text: str) -> None:
    print(f"{time.strftime('%X')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
