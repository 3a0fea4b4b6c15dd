"""Who the relay is on the wire. Rule kept here: the name holds the fingerprint of the key, so a new key is a new name:
a reinstalled relay poisons nobody's memory, and no forger can take the name of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Option
from camrelay.ipmsg.pubkey import signed_name
from camrelay.ipmsg.signed import Author

if TYPE_CHECKING:
    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.ipmsg.presence import Presence

LOGON = "camrelay"
# Who has a fingerprint in the name and says not to encrypt is dropped by Windows; who is to be sent signed
# dictionaries says that it reads them.
ABILITIES = int(Option.ENCRYPT | Option.CAPUTF8 | Option.CAPIPDICT)


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """The keys, and the author of what is signed with the first. No two are equal: each signs for itself."""

    key: PrivateKey  # of 2048 bits
    old: PrivateKey | None  # of 1024 bits, for clients of the 2.x and 3.x kind
    author: Author

    @property
    def keys(self) -> tuple[PrivateKey, ...]:
        """Whatever a message to us may be encrypted to."""
        return (self.key,) if self.old is None else (self.key, self.old)


def logon_of(key: PrivateKey) -> str:
    """``camrelay-<fingerprint>``."""
    return signed_name(LOGON, key.public)


def host_of(key: PrivateKey) -> str:
    """What stands for the host name, which is nobody's business: it is another one for each key."""
    return sha256(key.public.modulus).hexdigest()[:12]


def identify(key: PrivateKey, old: PrivateKey | None, own: Presence, plus: int = 0) -> Identity:
    """Who signs what ``own`` says; ``plus``: the option bits of a member master."""
    version = ""  # a Windows version line would be a lie
    names = (own.logon_text, own.host_text, own.nick_text, own.group_text)
    return Identity(key, old, Author(key, *names, version, own.abilities | plus))
