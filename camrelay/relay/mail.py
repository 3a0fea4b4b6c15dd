"""What is sent to the relay's own user: questions for its key, and messages, which one short automatic answer follows.

Rules kept here: only who is in the roster and speaks under that name is answered (the answers are larger than what was
sent); a message is decrypted, looked at for ``help``, and forgotten: never logged, never kept; nothing automatic is
ever answered; a user's key is the first one that was seen, as long as the name stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import sealed, signed
from camrelay.ipmsg.charset import decode, encode
from camrelay.ipmsg.command import AUTORETOPT, NOADDLISTOPT, SENDCHECKOPT, Command, Option
from camrelay.ipmsg.packet import build
from camrelay.ipmsg.pubkey import (
    CAPABLE,
    SET_1024,
    SET_2048,
    Capability,
    claimed,
    common,
    fits,
    read_answer,
    read_capability,
    write_answer,
)
from camrelay.relay.context import Bucket, Budget, Recently
from camrelay.relay.outputs import Transmit, UserHeard
from camrelay.relay.questions import Asked
from camrelay.relay.reply import words
from camrelay.relay.user import plain

if TYPE_CHECKING:
    from camrelay.ipmsg.ipdict import IPDict
    from camrelay.ipmsg.packet import Packet
    from camrelay.ipmsg.pubkey import PublicKey
    from camrelay.ipmsg.signed import Signed
    from camrelay.relay.context import Context
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.questions import Questions
    from camrelay.relay.user import User

BROADCASTOPT = 0x00000400  # a message to everybody: no receipt, no answer
DECRYPTS = 50.0  # messages per second in all: 0.4 ms each
ANSWERS = 10  # to one user in ten minutes: two programs that answer each other must not go on for ever
SAME_MESSAGE = 60.0  # seconds: clients repeat what is not acknowledged within some 5
MAX_MESSAGES = 4_096
SIGNS = Capability.SIGN_SHA256 | Capability.SIGN_SHA1


class Answers(Budget):
    """Automatic answers to one user."""

    WINDOW = 600.0


class Mail:
    """Reads what only concerns ourselves. Everything but ``author`` needs an identity."""

    def __init__(self, context: Context, questions: Questions, now: float) -> None:
        self._context = context
        self._questions = questions
        self._decrypts = Bucket(DECRYPTS, DECRYPTS / 5, now)
        self._answers = Answers(ANSWERS)
        self._answered = Recently(SAME_MESSAGE, MAX_MESSAGES)

    def take(self, packet: Packet, user: User, datagram: Datagram, now: float) -> None:
        """GETPUBKEY, ANSPUBKEY or SENDMSG of ``user``."""
        if packet.mode == Command.SENDMSG:
            self._message(packet, user, datagram, now)
        elif packet.mode == Command.GETPUBKEY:
            self._wants_key(packet, user, datagram, now)
        else:
            self._key(packet, user, datagram, now)

    # -- keys --------------------------------------------------------------------------------------------------

    def _wants_key(self, packet: Packet, user: User, datagram: Datagram, now: float) -> None:
        """GETPUBKEY: our key for what both can do, and a question for theirs where they sign."""
        identity = self._context.identity
        if identity is None or not self._may_answer(user, datagram, now):
            return
        try:
            theirs = read_capability(packet.body.strip())
        except MalformedPacket:
            self._context.count("dropped: malformed question for our key")
            return
        ours = CAPABLE if identity.old else CAPABLE & ~SET_1024
        both = common(ours, theirs)
        named = claimed(user.presence.logon_text)
        if not both or (named and not (theirs & Capability.RSA_2048 and theirs & SIGNS)):
            self._context.count("ignored: no encryption in common")
            return
        if both & SIGNS and not packet.options & AUTORETOPT and user.known_key is None:
            self._questions.key(user, now)
        key = identity.key if both & SET_2048 == SET_2048 else identity.old or identity.key
        self._say(Command.ANSPUBKEY, write_answer(key.public, ours), datagram)
        self._context.count("keys given")

    def _key(self, packet: Packet, user: User, datagram: Datagram, now: float) -> None:
        """ANSPUBKEY: remembered if we asked, it fits the name, and none is known."""
        if not self._questions.asked(datagram.source, Asked.KEY, now):
            self._context.count("dropped: key that we did not ask for")
            return
        try:
            _, key = read_answer(packet.body)
        except MalformedPacket:
            self._context.count("dropped: malformed key")
            return
        self._pin(user, key)

    def author(self, packet: Signed, user: User | None) -> PublicKey | None:
        """The key of who signed ``packet``; None, and counted, if it is not signed by whom it names.

        ``user`` lives at its source: if that is whom it names, only the key first seen will do, and the first is kept.
        """
        named = user is not None and plain(packet.key) == user.key
        key = signed.signer(packet, user.known_key if user is not None and named else None)
        if key is None:
            self._context.count("dropped: not signed by whom it names")
        elif user is not None and named:
            self._pin(user, key)
        return key

    def _pin(self, user: User, key: PublicKey) -> None:
        if user.known_key is None and key.bits == 2048 and fits(user.presence.logon_text, key):
            user.pin = key
            self._context.count("keys remembered")
            self._context.emit(UserHeard(user))  # so it is written down

    # -- messages ----------------------------------------------------------------------------------------------

    def _message(self, packet: Packet, user: User, datagram: Datagram, now: float) -> None:
        """SENDMSG in the classic form, plain or encrypted."""
        identity = self._context.identity
        if identity is None:
            return
        raw = packet.body
        if packet.options & Option.ENCRYPT:
            if not self._may_decrypt(now):
                return
            try:
                letter = sealed.read(packet.body, packet.number, identity.keys)
            except MalformedPacket:
                self._context.count("dropped: message that we cannot decrypt")
                return
            if user.known_key is not None and letter.signature and not letter.is_by(user.known_key):
                self._context.count("dropped: not signed by whom it names")
                return
            raw = letter.text
        charset = "utf-8" if packet.options & Option.UTF8 else user.presence.charset
        self._read_it(packet.number, packet.options, decode(raw, charset), user, datagram, now)

    def sealed(self, fields: IPDict, user: User | None, datagram: Datagram, now: float) -> None:
        """An encrypted dictionary; raises MalformedPacket. Who sent it is known when it is open."""
        identity = self._context.identity
        if identity is None or user is None:
            self._context.count("dropped: encrypted message of somebody unknown")
        elif self._may_decrypt(now):
            self.dictionary(signed.read(sealed.read_dict(fields, identity.keys)), user, datagram, now)

    def dictionary(self, packet: Signed, user: User | None, datagram: Datagram, now: float) -> None:
        """SENDMSG as a signed dictionary."""
        if packet.mode != Command.SENDMSG or user is None or self.author(packet, user) is None:
            self._context.count("ignored: dictionary that is no message to us")
        elif plain(packet.key) == user.key:
            text = packet.fields.text(b"BODY", "")
            self._read_it(b"%d" % packet.number, packet.options, text, user, datagram, now)

    def _may_answer(self, user: User, datagram: Datagram, now: float) -> bool:
        """Is it surely at the address it writes from? What we answer may be larger than what was sent."""
        if not user.confirmed:
            self._context.count("not answered: address not proven")
            self._questions.entry(datagram.source, now, datagram.port, len(datagram.data))
        return user.confirmed

    def _may_decrypt(self, now: float) -> bool:
        if self._decrypts.take(now):
            return True
        self._context.count("dropped: too many encrypted messages")
        return False

    def _read_it(
        self, number: bytes, options: int, text: str, user: User, datagram: Datagram, now: float
    ) -> None:
        """A message that was read: receipt, and one answer."""
        context = self._context
        context.count("messages to the relay")
        if (
            user.is_relay
            or options & (AUTORETOPT | BROADCASTOPT)
            or not self._may_answer(user, datagram, now)
        ):
            return
        if options & SENDCHECKOPT:
            self._say(Command.RECVMSG, number, datagram)
        once = f"{datagram.source} {number.decode('ascii')}"
        if self._answered.within(once, now):
            return
        self._answered.note(once, now)
        if not self._answers.spend(datagram.source, now):
            context.count("not answered: too many messages")
            return
        capable = user.presence.options & Option.CAPUTF8
        charset = "utf-8" if capable else user.presence.charset
        utf8 = Option.UTF8 | Option.CAPUTF8 if capable else 0
        body = encode(words(context, text, charset), charset)
        self._say(Command.SENDMSG | AUTORETOPT | NOADDLISTOPT | utf8, body, datagram)
        context.count("messages answered")

    def _say(self, command: int, body: bytes, because: Datagram) -> None:
        own, number = self._context.own, self._context.next_number()
        data = build(own.version, number, own.logon, own.host, command, body)
        self._context.emit(Transmit(data, because.source, because.port))
