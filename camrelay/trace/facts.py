"""What a check found out (Fact) and what several of them prove (Finding): plain data that may travel as JSON.

Keep it free of everything else: whoever measures imports this file and no other of the package.
"""

from __future__ import annotations

from typing import Any

import msgspec

NOTE = "note"  # for the reader's peace of mind: exit code 0
WARNING = "warning"  # something fails, and may be meant to: exit code 1
FAULT = "fault"  # somebody has to act: exit code 1


class Fact(msgspec.Struct, frozen=True):
    """One check's result.

    ``check`` and ``outcome`` are keys of ``data/checks*.toml``. ``seconds``: how long the check took. ``role``: from
    where it was seen: empty for this relay, "far" for a relay in the target's segment, "pair", "1", "2far" ... as
    the check's caller defines. ``by``: the name of the relay that looked, empty for this one. ``detail``: plain JSON
    values, the placeholders of the texts.
    """

    check: str
    outcome: str
    seconds: float = 0.0
    role: str = ""
    by: str = ""
    detail: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """How verdicts name it: "udp" as seen from here, "far.udp" with a role."""
        return f"{self.role}.{self.check}" if self.role else self.check


class Finding(msgspec.Struct, frozen=True):
    """A verdict that fits the facts.

    ``id``: of ``data/verdicts*.toml``. ``severity``: "note", "warning" or "fault". ``detail``: the subject's values
    by their names ("target"), and every fact's details as "udp.by", "far.udp.by"; with "far.udp.relay", who looked.
    """

    id: str
    severity: str
    detail: dict[str, Any]
