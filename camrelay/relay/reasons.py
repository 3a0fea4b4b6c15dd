"""What ``trace why`` shows of one user: plain values, taken at one instant, safe to encode.

Ages and spans are seconds; None where there is nothing to measure. What a stranger said is as long as it said it, but
never longer than 400 characters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Garbled:
    """The names were read in a wrong charset."""

    charset: str  # the likelier one; "" if bytes are lost and no other makes sense of them
    names: list[str]  # logon, host, nick and group in that one; empty without one
    read_as: str  # "" if we misread them; else what the client itself misread them in before it sent them


@dataclass(frozen=True, slots=True)
class Words:
    """The last presence datagram. Of a user that a peer told us of: the one that says the same."""

    command: str  # "BR_ENTRY"
    options: list[str]
    number: str
    line: str  # all of it, readable: NUL as "␀", line breaks as "␊"
    charset: str
    proven: bool  # by the packet itself; else guessed
    marked: bool  # the names come a second time in UTF-8 (a trailer), and those are shown
    raw: dict[str, str]  # names that are not ASCII, as sent, in hexadecimal
    garbled: Garbled | None


@dataclass(frozen=True, slots=True)
class Holder:
    """A relay that knows the user first hand, us included."""

    relay: str
    ours: bool
    role: str  # "owner", "witness", "elsewhere" (hears it at another address), "contests", "before" (said so earlier)
    address: str
    claim: int
    linked: bool


@dataclass(frozen=True, slots=True)
class Told:
    """Listeners of one segment who are told in the same way."""

    how: str  # "broadcast", "unicast" (each), "signed" (each, from our own address), "agents" (signed, through them)
    command: str  # "BR_ABSENCE", "ANSENTRY", "ANSLIST_DICT"
    charset: str
    listeners: int


@dataclass(frozen=True, slots=True)
class Audience:
    """One segment, and how those there hear of the user from us, by what holds now."""

    segment: str
    listeners: int  # clients there whom we know
    told: list[Told]
    # Why nobody is told by us, "" if somebody is: "own" (hears it itself), "rule", "relay" (``by`` tells them), "mute"
    # (we may not speak as others), "between" (no announcing from one remote segment to another), "nobody", "offline",
    # "doubt" (not proven since a restart), "is-relay"
    why: str = ""
    rule: int | None = None  # the [[share]] rule that hides it; the first is 1
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Informed:
    """Another relay, and whether it knows the user from us."""

    relay: str
    # "" if it does: else "rule", "away" (no link), "not-ours" (its own relay tells), "late" (still being told)
    why: str = ""
    rule: int | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """Another user that may be the same person or the same machine."""

    logon: str
    host: str
    nick: str
    address: str
    state: str
    heard: float
    same: str  # "logon" (the same on another machine), "host" (another logon there), "address"
    same_nick: bool


@dataclass(frozen=True, slots=True)
class Life:
    """What was heard, and what becomes of the user if nothing more is."""

    heard: float  # age of the last sign of life; of a user told by a peer, of its last word
    said: float  # age of the presence that was last read; repeated words are not read again
    joined: float
    unanswered: int  # of 4 questions; then it is given up
    waiting: list[str]  # our questions of the last 10 s whose answers would count
    asked_in: float | None
    gone_in: float | None
    forgotten_in: float | None
    listed: float | None  # age of the last whole list that we began to give to it
    farewell: float | None  # age of the last farewell said for it


@dataclass(frozen=True, slots=True)
class Doubts:
    """One name, several addresses."""

    twin: str | None  # another live address of the same name; the first one stays
    rival: str | None  # a peer heard it there: the address that we know is being asked
    candidate: str | None  # it was heard there by us: the address that we know is being asked
    decided_in: float | None  # when a question to the user's own relay is given up


@dataclass(frozen=True, slots=True)
class WhyRow:
    """Everything that is known about how one user is known."""

    logon: str
    host: str
    nick: str
    group: str
    address: str
    port: int
    segment: str
    kind: str
    version: str
    state: str
    home: bool
    via: str | None
    learned: str  # see ``user.Learned``
    pinned: bool  # its public key is known: nobody else can sign as it
    words: Words
    holders: list[Holder]
    audience: list[Audience]
    more_segments: int  # left out of ``audience``
    informed: list[Informed]
    alike: list[Alike]
    more_alike: int
    life: Life
    doubts: Doubts
