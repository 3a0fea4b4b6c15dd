"""The parts of tracing are imported when first asked for, by many at once."""

from __future__ import annotations

import subprocess
import sys

ASK_WHILE_IT_IS_IMPORTED = """
import trio
from camrelay.daemon.tracing import find

async def main():
    found = []
    async def ask():
        found.append(await find("pair:pair"))
    async with trio.open_nursery() as nursery:
        while not found:
            nursery.start_soon(ask)
            await trio.sleep(0.001)
    assert len(set(found)) == 1

trio.run(main)
"""


def test_part_is_found_while_another_trace_is_still_importing_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ASK_WHILE_IT_IS_IMPORTED], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
