"""``camrelay users --as-seen-from``: who would be listed in one segment, by the rules of the configuration file.

The file, not the running daemon: so a rule can be looked at before it is taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camrelay.relay.sharing import Place, Rules, Span, span

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from camrelay.config import Config
    from camrelay.relay.messages import RelayId

Row = dict[str, Any]


class View:
    """What those of one segment see. ``peers``: the relay whose part it is to announce there, if it is not ours;
    ``ids``: of all other relays, by name."""

    def __init__(
        self,
        name: str,
        place: Place,
        rules: Rules,
        local: Iterable[str],
        peers: Iterable[str],
        ids: dict[str, RelayId],
    ) -> None:
        self.name = name
        self._place = place
        self._rules = rules
        self._local = frozenset(local)
        self._peers = tuple(peers)
        self._ids = ids

    def lists(self, row: Row) -> bool:
        """Is this one there, and nobody of those who are never shown elsewhere: is it a line in the lists there?"""
        shown = row["segment"] == self.name or row["kind"] != "camrelay"
        return bool(shown and row["state"] != "offline")

    def hidden_by(self, row: Row) -> int | None:
        """The rule that hides it: the first is 1. None if it is seen."""
        if row["segment"] == self.name:
            return None
        rules, via = self._rules, row["via"] or ""
        here = row["segment"] in self._local
        bits = rules.about(row["address"], row["group"], here, via, self._ids.get(via, ""))
        decided = [rules.into(bits, self._place)]
        if row["home"]:
            decided += [rules.to_peer(bits, name, self._ids.get(name, "")) for name in self._peers]
        hiding = next((rule for rule in decided if not rules.allows(rule)), None)
        return None if hiding is None else hiding + 1


def seen_from(text: str, path: Path | None) -> View:
    """The view from the segment that ``text`` names: its name, its network or an address in it."""
    from camrelay.cli.asking import result
    from camrelay.config import load

    config = load(path)
    status = result(path, {"do": "status"})
    rows = status["relay"]["segments"]
    ids = {peer["name"]: peer["id"] for peer in status["fleet"]["peers"]}
    name, place = _find(text, _segments(config, rows))
    local = [row["name"] for row in rows if row["kind"] == "local"]
    peers = [row["served_by"] for row in rows if row["name"] == name and row["served_by"]]
    return View(name, place, Rules(config.settings("").shares), local, peers, ids)


def _segments(config: Config, rows: Iterable[Row]) -> dict[str, Place]:
    """The daemon's segments. What else is on a wire of ours only the configuration says."""
    also = config.also()
    return {
        row["name"]: Place(
            tuple(map(span, (row["name"], *also.get(row["interface"], ())))), here=row["kind"] == "local"
        )
        for row in rows
    }


def _find(text: str, segments: dict[str, Place]) -> tuple[str, Place]:
    """The smallest segment that holds ``text``; a network that nobody has is one of its own."""
    from camrelay.errors import UsageError

    if text in segments:
        return text, segments[text]
    try:
        wanted = span(text)
    except ValueError:
        wanted = None
    holding = [
        name for name, place in segments.items() if wanted and any(s.holds(wanted) for s in place.spans)
    ]
    if holding:
        name = min(holding, key=lambda name: _size(segments[name].spans[0]))
        return name, segments[name]
    if wanted is None or _size(wanted) == 0:
        known = ", ".join(segments) or "none"
        raise UsageError(f"{text} is no segment, and no address in one (there: {known})")
    return text, Place((wanted,))


def _size(network: Span) -> int:
    return network.last - network.first
