"""``trace why``: what the relay and the history know of one user, as facts to be judged.

Result: {"word", "here", "segment", "users": [{"row", "history", "facts"}], "facts"}; the last one only for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from camrelay.daemon.history import crowd, flapping
from camrelay.relay.reasons import WhyRow  # noqa: TC001 - msgspec reads the annotations
from camrelay.relay.segment import number
from camrelay.relay.why import few
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.history import Happened
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.relay import Relay
    from camrelay.relay.user import User

FIRST_HAND = ("broadcast", "unicast")
ASKED = ("round", "sweep", "hint", "hearsay")


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: an address, logon, host, logon/host or nick."""

    user: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened: see ``history.Happened``. ``age`` in seconds."""

    age: float
    what: str
    address: str
    detail: str


class Explained(msgspec.Struct, frozen=True):
    """One user that was meant."""

    row: WhyRow
    history: list[Event]
    facts: list[Fact]


class Explanation(msgspec.Struct, frozen=True):
    """The answer. ``segment``: of an address at which nobody is known, if it has one."""

    word: str
    here: str
    segment: str | None
    users: list[Explained]
    facts: list[Fact]


async def why(stand: Stand, request: Request, tell: Tell) -> Explanation:
    """For the control socket. UsageError if too many are meant."""
    word = request.args(Wanted).user.strip()
    relay = stand.relay
    found: list[User] = []
    for user in relay.look.search(word):
        if user is None:
            await trio.lowlevel.checkpoint()
        else:
            found.append(user)
    now = trio.current_time()
    users: list[Explained] = []
    for row in relay.look.explain(few(found, word), now):
        if row is None:
            await trio.lowlevel.checkpoint()
        else:
            users.append(_explained(stand, row, found[len(users)], now))
    facts = [] if users else [_nobody(relay, word, [i.address for i in stand.interfaces()])]
    home = relay.look.segment(word)
    return Explanation(word, relay.look.name, home.name if home else None, users, facts)


def _explained(stand: Stand, row: WhyRow, user: User, now: float) -> Explained:
    events = stand.history.of(user.key)
    others = [stand.history.of(key) for key in stand.relay.look.names_at(user.address)]
    return Explained(
        row,
        [Event(now - one.at, one.what, one.address, one.detail) for one in events],
        [*facts_of(row), *_to_and_fro(user.address, events, others, now)],
    )


def _nobody(relay: Relay, word: str, own: Sequence[str]) -> Fact:
    if word in own:
        return Fact("known", "ourselves", detail={"word": word})
    try:
        number(word)
    except ValueError:
        return Fact("known", "no", detail={"word": word})
    home = relay.look.segment(word)
    if home is None:
        return Fact("known", "outside", detail={"word": word})
    return Fact("known", "not-heard", detail={"word": word, "segment": home.name})


def _to_and_fro(
    address: str, events: Sequence[Happened], others: Sequence[Sequence[Happened]], now: float
) -> Iterator[Fact]:
    flap = flapping(events, now)
    yield Fact("flapping", "yes" if flap else "no", detail=flap._asdict() if flap else {})
    shared = crowd(address, others, now)
    detail = {"address": address, **shared._asdict()} if shared else {}
    yield Fact("address-shared", "yes" if shared else "no", detail=detail)


def facts_of(row: WhyRow) -> list[Fact]:
    """What one row says, for the judge."""
    return [
        Fact("known", "relay" if row.kind == "camrelay" else "yes", detail=_who(row)),
        _heard(row),
        _owner(row),
        _told(row),
        _charset(row),
        _twin(row),
        _person(row),
        _forgotten(row),
    ]


def _who(row: WhyRow) -> dict[str, Any]:
    return {
        "nick": row.nick,
        "logon": row.logon,
        "host": row.host,
        "address": row.address,
        "state": row.state,
    }


def _heard(row: WhyRow) -> Fact:
    detail = {"age": row.life.heard, "command": row.words.command, "unanswered": row.life.unanswered}
    if row.state == "offline":
        return Fact("heard", "no-more", detail=detail)
    if not row.home:
        return Fact("heard", "told", detail=detail | {"relay": row.via})
    if row.life.unanswered:
        return Fact("heard", "silent", detail=detail)
    if row.state == "unverified":
        return Fact("heard", "doubted", detail=detail)
    if row.learned in FIRST_HAND:
        return Fact("heard", row.learned, detail=detail)
    return Fact("heard", "asked" if row.learned in ASKED else "before", detail=detail | {"by": row.learned})


def _owner(row: WhyRow) -> Fact:
    by_role = {role: [h.relay for h in row.holders if h.role == role] for role in ("owner", "witness")}
    elsewhere = [h for h in row.holders if h.role in ("elsewhere", "contests")]
    owner = next((h for h in row.holders if h.role == "owner"), None)
    if owner is None:
        return Fact("owner", "nobody")
    detail: dict[str, Any] = {"relay": owner.relay, "witnesses": by_role["witness"]}
    if elsewhere:
        there = elsewhere[0]
        return Fact("owner", "contested", detail=detail | {"other": there.relay, "address": there.address})
    if not owner.linked:
        return Fact("owner", "away", detail=detail)
    return Fact("owner", "ours" if owner.ours else "peer", detail=detail)


def _told(row: WhyRow) -> Fact:
    """Of all segments but the user's own; other relays tell in theirs."""
    told = [a for a in row.audience if a.told]
    hidden = [a for a in row.audience if a.why == "rule"]
    detail: dict[str, Any] = {
        "segments": [a.segment for a in told],
        "listeners": sum(part.listeners for a in told for part in a.told),
        "relays": [one.relay for one in row.informed if not one.why],
    }
    for why in ("is-relay", "offline", "doubt"):
        if any(a.why == why for a in row.audience):
            return Fact("told", why, detail=detail)
    unable = [a for a in row.audience if a.why in ("mute", "between") and a.listeners]
    if unable:
        detail |= {"untold": [a.segment for a in unable], "count": sum(a.listeners for a in unable)}
        return Fact("told", unable[0].why, detail=detail)
    relays = [one for one in row.informed if one.why == "rule"]
    rules = sorted({rule for rule in [a.rule for a in hidden] + [one.rule for one in relays] if rule})
    if rules:
        return Fact(
            "told",
            "partly",
            detail=detail
            | {"hidden": [a.segment for a in hidden] + [r.relay for r in relays], "rules": rules},
        )
    if not told and not any(not one.why for one in row.informed):
        by = sorted({a.by for a in row.audience if a.by})
        return Fact("told", "by-others" if by else "nobody-there", detail=detail | {"by": by})
    return Fact("told", "everybody", detail=detail)


def _charset(row: WhyRow) -> Fact:
    words = row.words
    detail: dict[str, Any] = {"charset": words.charset, "nick": row.nick, "client": row.version or row.kind}
    found = words.garbled
    if found is not None and not found.charset:
        return Fact("charset", "lost", detail=detail)
    if found is not None:
        reads = [name for name in found.names[2:] if name] or found.names[:2]
        outcome = "garbled-there" if found.read_as else "garbled"
        return Fact("charset", outcome, detail=detail | {"likelier": found.charset, "reads": reads})
    if not (words.raw or words.marked):
        return Fact("charset", "plain", detail=detail)
    return Fact("charset", "proven" if words.proven or words.marked else "guessed", detail=detail)


def _twin(row: WhyRow) -> Fact:
    doubts = row.doubts
    if doubts.candidate or doubts.rival:
        return Fact("twin", "asking", detail={"other": doubts.candidate or doubts.rival})
    if doubts.twin:
        return Fact("twin", "live", detail={"other": doubts.twin})
    return Fact("twin", "no")


def _person(row: WhyRow) -> Fact:
    """Somebody with the same logon and nick on another machine: one person, two PCs."""
    same = [one for one in row.alike if one.same == "logon" and one.same_nick and one.host != row.host]
    if len(same) != 1 or row.more_alike:
        return Fact("same-person", "no")
    other = same[0]
    detail = {
        "name": f"{other.logon}/{other.host}", "address": other.address, "state": other.state, "age": other.heard,
    }  # fmt: skip
    live = other.state != "offline"
    if live and row.state != "offline":
        return Fact("same-person", "both", detail=detail)
    return Fact("same-person", "newer" if live or other.heard < row.life.heard else "older", detail=detail)


def _forgotten(row: WhyRow) -> Fact:
    life = row.life
    detail: dict[str, Any] = {"asked": life.asked_in, "gone": life.gone_in, "forgotten": life.forgotten_in}
    if row.state == "offline":
        return Fact("forgotten", "offline", detail=detail)
    if not row.home:
        return Fact("forgotten", "by-peer", detail=detail | {"relay": row.via})
    return Fact("forgotten", "leaving" if life.unanswered else "here", detail=detail)
