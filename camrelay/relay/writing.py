"""How one user is written for one group of listeners: in the command and charset that they take.

Rule kept here: the words are the user's own wherever the listeners can read them, its packet number always: a number
of ours would be above its next message's, which iptux then takes for an old one (clients.md section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.announcement import announce
from camrelay.ipmsg.command import Command, Option
from camrelay.relay.user import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.relay.segment import Segment
    from camrelay.relay.user import User

Group = dict["User", None]

# Plain numbers: an IntFlag's operators cost a microsecond each.
ABSENCE = int(Command.BR_ABSENCE)
UTF8 = int(Option.UTF8)
CAPUTF8 = int(Option.CAPUTF8)
ANY_ABSENCE = Dialect(True, None)


class Form(NamedTuple):
    """How one user is written for one group of listeners. ``charset`` None: in the bytes the user itself sent."""

    command: int
    charset: str | None
    trailer: bool | None


AS_ITSELF = Form(Command.BR_ABSENCE, None, None)
GOOD_BYE = Form(Command.BR_EXIT, None, False)


def write(user: User, form: Form) -> bytes:
    """The datagram that announces ``user`` in ``form``."""
    presence = user.presence
    if form is AS_ITSELF:
        # Windows sends the very words that must be repeated: only the command differs, if anything does.
        logon, host, said, rest = user.tail.split(b":", 3)
        command = b"%d" % (ABSENCE | presence.abilities)
        fit = logon and host and b"\nIP:" not in rest  # IP: lines tell of a member master, to one program
        if said == command and fit:
            return user.datagram
        if fit and not presence.options & UTF8:
            return b":".join((presence.version, user.number, logon, host, command, rest))
    return announce(presence, form.command, int(user.number), form.charset, form.trailer)


def form_for(user: User, dialect: Dialect, body: str | None) -> Form:
    """What listeners of ``dialect`` need; ``body`` is the charset that most listeners of the segment read."""
    presence = user.presence
    if not dialect.absence:
        if presence.is_ascii:
            return Form(Command.ANSENTRY, None, None)
        marked = dialect.charset is None  # only who may write a trailer may say UTF8OPT
        return Form(Command.ANSENTRY, dialect.charset or "utf-8", True if marked else None)
    if presence.is_ascii:
        return AS_ITSELF
    charset = dialect.charset or body or presence.charset
    has_trailer = bool(presence.options & CAPUTF8)
    # iptux finds its icon and its own mark where the trailer would stand: one datagram cannot hold both.
    trailer = not presence.parts or dialect.charset is None
    if charset == presence.charset and trailer == has_trailer:
        return AS_ITSELF
    return Form(Command.BR_ABSENCE, charset, trailer)


def forms_for(user: User, segment: Segment) -> tuple[Form, Sequence[tuple[Form, Group]]]:
    """The form to broadcast in ``segment``, and the groups that need another one by unicast."""
    groups = segment.groups
    body, most = None, 0
    if not user.presence.is_ascii:
        for dialect, group in groups.items():
            if dialect.absence and dialect.charset and len(group) > most:
                body, most = dialect.charset, len(group)
    forms = [(form_for(user, dialect, body), dialect, group) for dialect, group in groups.items()]
    absent = [(len(group), form) for form, dialect, group in forms if dialect.absence]
    main = max(absent, key=lambda found: found[0])[1] if absent else form_for(user, ANY_ABSENCE, body)
    return main, [(form, group) for form, _, group in forms if form != main]
