"""Whom a word on the command line means: an address, a user by any of its names, else a host by DNS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import trio

from camrelay.daemon.probes import names
from camrelay.errors import UsageError
from camrelay.relay.segment import network_of, number
from camrelay.relay.user import State

if TYPE_CHECKING:
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.user import User
    from camrelay.trace.facts import Fact

MOST_NAMED = 8  # candidates in an error message
_DOTTED = re.compile(r"[0-9]+(\.[0-9]+){3}")


class Target(NamedTuple):
    """Who is meant. ``address``: "" if there is none, and ``fact`` says why. ``user``: who lives there, or lived."""

    word: str
    address: str
    user: User | None
    fact: Fact | None = None

    @property
    def name(self) -> str:
        """How people call it: the nick, else what was typed."""
        if self.user is None:
            return self.word
        presence = self.user.presence.anew()
        return presence.nick_text or presence.logon_text


async def whom(stand: Stand, word: str, dns: names.Lookup = names.SYSTEM) -> Target:
    """Who is meant. UsageError, with the candidates, if it may be several, or if it can be nobody."""
    word = word.strip()
    if _is_address(word):
        user = stand.relay.look.at(word)
        if user is None:
            _check(stand, word)
        return Target(word, word, user)
    if not word or _DOTTED.fullmatch(word):
        raise UsageError(f"{word!r} is no IPv4 address: write an address, a name of a user or a DNS name")
    found = await _named(stand, word) or await _named(stand, word.replace("@", "/", 1))
    here = [user for user in found if user.state is not State.OFFLINE]
    found = here if here else found
    if len({user.address for user in found}) > 1:
        raise UsageError(f"{word!r} may be {_candidates(found)}: name one by its address or as logon/host")
    if found:
        return Target(word, found[0].address, found[0])
    addresses, fact = await names.resolve(word, dns)
    known = [user for address in addresses if (user := stand.relay.look.at(address))]
    if known:
        return Target(word, known[0].address, known[0])
    return Target(word, addresses[0] if addresses else "", None, fact)


async def _named(stand: Stand, word: str) -> list[User]:
    found = []
    for user in stand.relay.look.search(word):
        if user is None:
            await trio.lowlevel.checkpoint()
        else:
            found.append(user)
    return found


def _is_address(word: str) -> bool:
    try:
        number(word)
    except ValueError:
        return False
    return True


def _check(stand: Stand, address: str) -> None:
    """UsageError if no PC can have this address."""
    for row in stand.relay.snapshot(trio.current_time()).segments:
        network = network_of(row.name, strict=False)
        if network.num_addresses > 2 and address in (str(network[0]), str(network[-1])):
            what = "broadcast" if address == str(network[-1]) else "network"
            raise UsageError(
                f"{address} is the {what} address of {row.name}, no PC's: name a user or a PC there"
            )


def _candidates(users: list[User]) -> str:
    rows = []
    for user in users[:MOST_NAMED]:
        p = user.presence.anew()
        rows.append(f"{p.logon_text}/{p.host_text} ({p.nick_text}) at {user.address}")
    more = len(users) - MOST_NAMED
    return ", ".join(rows) + (f" or {more} more" if more > 0 else "")
