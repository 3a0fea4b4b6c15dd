"""IP Messenger for Windows 4.99r3, scripted: what it accepts from others and what it does about it.

A state machine of the reference client's rules. "wire N.M" names the section of the IPMSG wire reference that
a rule comes from; where the real program was measured to do otherwise, the measurement counts. Its tables are
in ``tests/windows_table.py``, lists and questions in ``tests/windows_requests.py``, dictionaries and member master
in ``tests/windows_agent.py``. Rules and times are held against recordings of the real program in
``tests/unit/windows``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import hostlist, master, pubkey, trailer
from camrelay.ipmsg.command import (
    AUTORETOPT,
    PORT,
    Command,
    Option,
)
from camrelay.ipmsg.packet import Packet, build, is_ipdict, parse
from camrelay.ipmsg.signed import Author
from tests.keys import PEER
from tests.scripted import Client, Sent, segment_of
from tests.windows_agent import Dictionaries
from tests.windows_requests import Requests
from tests.windows_table import Host, Keys, Log, Table, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.crypto import PrivateKey
    from tests.world import World

WARM_UP = 0.25  # seconds between NOOPERATION and what it warms up for, wire 3.1
AGAIN = 5.0  # seconds until BR_ENTRY is said once more, wire 3.1
REFRESH_PAUSE = 5  # seconds in which a second press of the button does nothing but poll, wire 3.1
REFRESH_ALL = 10  # seconds since the last refresh after which one empties the whole window, wire 3.1
QUEUE = 100  # answers that may wait, wire 3.2
EPOCH = 1_795_000_000  # what its clock shows when the world's shows 0
VERSION = "00010002:4:99:103"  # x64, wire 1.3
_IN_LIST = frozenset(
    (
        *(Command.BR_ENTRY, Command.BR_EXIT, Command.ANSENTRY, Command.BR_ABSENCE, Command.BR_ISGETLIST2),
        *(Command.OKGETLIST, Command.GETLIST, Command.ANSLIST, Command.ANSLIST_DICT),
    )
)


class Windows499(Client):
    """One user at one PC. ``listed``: address to nick, itself included, as in the real window."""

    options = 0x0F640000  # wire 2.2
    gives_list = True  # "allow to send list", on by default
    list_get = False  # "get list at start", off by default
    also: tuple[str, ...] = ()  # broadcast list of its settings
    master_strict = False  # only in its registry
    list_room = hostlist.LIMIT

    def __init__(
        self,
        world: World,
        address: str,
        nick: str,
        logon: str = "",
        host: str = "",
        group: str = "sales",
        *,
        key: PrivateKey = PEER,
        master: str = "",
    ) -> None:
        super().__init__(world, address, nick, logon, host, group)
        self.key = key
        self.user = pubkey.signed_name(logon or f"u{address}", key.public)
        self.computer = host or f"pc-{address}"
        self.logon, self.host = (name.encode(self.charset, "replace") for name in (self.user, self.computer))
        self.master = master  # address of the member master in its settings, "": it uses none
        self.away = ""
        self.keys = Keys()  # on its disk
        self.messages: list[bytes] = []
        self.ignored: Counter[str] = Counter()
        self.boot()

    @property
    def name(self) -> tuple[str, str]:
        return name_of(self.user, self.computer)

    @property
    def list_window(self) -> bool:
        """One list that nobody asked for is taken after each start or refresh, wire 4."""
        return self.requests.window is not None

    @property
    def dialup(self) -> set[str]:
        """Who gets its presence by unicast."""
        return {address for address, _ in self.table.dialup}

    def status(self) -> int:
        return self.options | (Option.ABSENCE if self.away else 0)

    def shown(self) -> str:
        return f"{self.nick}[{self.away}]" if self.away else self.nick  # wire 3.1

    def itself(self) -> Host:
        return Host(
            self.user, self.computer, self.status(), self.address, PORT, self.shown(), self.group, VERSION
        )

    def author(self) -> Author:
        return Author(self.key, self.user, self.computer, self.shown(), self.group, VERSION, self.status())

    def clock(self) -> int:
        return EPOCH + int(self.world.now)

    # -- what its user does ----------------------------------------------------------------------------------------

    def boot(self) -> None:
        """All that a new process begins with: only the keys are on the disk."""
        self.table = Table()
        self.listed = self.table.listed
        self.log = Log()
        self.dictionaries = Dictionaries(self)
        self.requests = Requests(self)
        self._timers: dict[str, object] = {}
        self._answers: list[tuple[Host, Sent, int]] = []
        self._refreshed = 0

    def start(self) -> None:
        self.boot()
        self.alive = True
        self.enter()
        self.timer("poll", WARM_UP + 0.02, self.dictionaries.poll)

    def enter(self) -> None:
        """What start, refresh and a change of the settings end in."""
        self.requests.window = self.clock()
        if self.list_get:
            self.requests.ask_for_list()
        else:
            self.announce(Command.BR_ENTRY)

    def refresh(self) -> None:
        """The button."""
        self.dictionaries.poll()
        now = self.clock()
        if self._refreshed + REFRESH_PAUSE >= now:
            return
        every = self._refreshed + REFRESH_ALL < now
        for host in self.table:
            stale = host.updated + REFRESH_ALL < int(self.world.now)
            if stale or (every and self.dictionaries.forgets(host)):
                self.table.delete(host.place)
        self._refreshed = now
        self.enter()

    def use_master(self, address: str) -> None:
        """Another member master ("": none) in its settings, which it polls at once."""
        self.master = address
        self.dictionaries.poll()

    def rename(self, nick: str) -> None:
        self.nick = nick
        self.announce(Command.BR_ABSENCE)

    def leave_desk(self, title: str = "absence") -> None:
        """Away from now on; "": back."""
        self.away = title
        self.announce(Command.BR_ABSENCE)

    def exit(self) -> None:
        """BR_EXIT twice, wire 3.1. Nothing is read any more."""
        self.alive = False
        timers = self._timers = {}
        for begun in (0.0, WARM_UP + 0.1):
            self._later_of(timers, begun, lambda: self._warm_up(Command.BR_EXIT))
            self._later_of(timers, begun + WARM_UP, lambda: self._announce(Command.BR_EXIT))

    # -- presence out ----------------------------------------------------------------------------------------------

    def announce(self, mode: int) -> None:
        """NOOPERATION, and 250 ms later the word itself; BR_ENTRY again 5 s after that, wire 3.1."""
        self._warm_up(mode)
        self.later(WARM_UP, lambda: self._announce(mode))
        if mode == Command.BR_ENTRY:
            self.timer("entry", WARM_UP + AGAIN, lambda: self._announce(mode))

    def _targets(self) -> list[str]:
        """Its network, and its master (which it knows to be elsewhere), wire 3.1."""
        return [f"{segment_of(self.address)}.255", *([self.master] if self.master else []), *self.also]

    def _warm_up(self, mode: int) -> None:
        for to in self._targets():
            self.say(Command.NOOPERATION, to)

    def _announce(self, mode: int) -> None:
        dialups = [address for address, port in self.table.dialup if port == PORT]
        for to in (*self._targets(), *dialups):
            self.say(mode, to)

    def say(self, mode: int, to: str, *, duty: bool = False) -> None:
        """One presence packet. Each has a number of its own, and is heard by itself when it is a broadcast."""
        self.send(self.presence(mode, duty=duty), to)
        if to.endswith(".255") and mode in (Command.BR_ENTRY, Command.BR_ABSENCE):
            self.table.add(self.itself(), self.world.now, entry=False, by_list=False, own=True)

    def next_number(self) -> int:
        self.number = max(self.clock(), self.number + 1)  # wire 1.2
        return self.number

    def presence(self, mode: int, *, duty: bool = False) -> bytes:
        """Names in its code page and again in UTF-8; an answer in UTF-8 with the version alone, wire 1.3, 3.2."""
        answer = mode & 0xFF == Command.ANSENTRY
        charset = "utf-8" if mode & Option.UTF8 else self.charset
        names = (self.user, self.computer, self.shown(), self.group)
        logon, host, nick, group = (name.encode(charset, "replace") for name in names)
        asks = mode & 0xFF == Command.BR_ISGETLIST2
        lines = b"" if asks else trailer.write(None if answer else names, VERSION)
        if not answer and not asks:
            lines += master.write_note(master.Note(self.master, duty=duty))
        number = self.next_number()
        return build(
            b"1", number, logon, host, mode | self.status(), nick, group + b"\0" * (not asks) + lines
        )

    def plain(self, mode: int, body: bytes = b"") -> bytes:
        return build(b"1", self.next_number(), self.logon, self.host, mode, body)

    # -- packets in ------------------------------------------------------------------------------------------------

    def receive(self, sent: Sent) -> None:
        if is_ipdict(sent.data):
            self.dictionaries.receive(sent)
            return
        try:
            packet = parse(sent.data)
            note = master.read_note(packet)  # a damaged one spoils the whole packet, wire 1.3
        except MalformedPacket:
            self.ignored["malformed"] += 1
            return
        who = self._who(packet, sent.source)
        mode = packet.mode
        if mode == Command.BR_ENTRY:
            self._br_entry(packet, who, note, sent)
        elif mode in (Command.ANSENTRY, Command.BR_ABSENCE):
            self._presence(packet, who)
        elif mode == Command.BR_EXIT:
            self._br_exit(who)
        else:
            self.requests.receive(packet, who, sent)
        if mode not in _IN_LIST:
            self.log.add(packet.serial, who.logon, who.host)

    def accept(self, sent: Sent) -> None:
        if is_ipdict(sent.data):
            self.dictionaries.accept(sent)

    def _who(self, packet: Packet, address: str) -> Host:
        """Names by the trailer, else in the charset that the options say, wire 1.3 and 1.5."""
        charset = "utf-8" if packet.options & Option.UTF8 else self.charset
        body, _, rest = packet.extra.partition(b"\0")
        names = [raw.decode(charset, "replace") for raw in (packet.logon, packet.host, packet.body, body)]
        version = ""
        if packet.options & Option.CAPUTF8:
            lines = body if body.startswith(b"\n") else rest
            told = trailer.said(lines)
            whole = packet.mode in (Command.BR_ENTRY, Command.BR_ABSENCE)
            names = [
                name if text is None or (place > 1 and not whole) else text
                for place, (name, text) in enumerate(zip(names, told, strict=True))
            ]
            version = trailer.version(lines).decode("ascii", "replace")
        return Host(names[0], names[1], packet.options, address, PORT, names[2], names[3], version)

    def _alias(self, who: Host) -> bool:
        """Its own name from another address is dropped, wire 3.5."""
        if who.name == self.name and who.address != self.address:
            self.ignored["own name from elsewhere"] += 1
            return True
        return False

    def _refuses(self, who: Host) -> bool:
        if who.impersonates:
            self.ignored["fingerprint without encryption"] += 1
        return who.impersonates

    def _br_entry(self, packet: Packet, who: Host, note: master.Note, sent: Sent) -> None:
        """In the order of wire 3.2."""
        if self.log.has(packet.serial, who.logon, who.host):
            self.ignored["seen before"] += 1
            return
        if self._alias(who):
            return
        if self.master == who.address and note.started:
            self.dictionaries.poll()
        if self._refuses(who):
            return
        if who.name != self.name:
            self._queue_answer(who, sent, packet.options)
        host = self.table.add(who, self.world.now, entry=True, by_list=False, own=who.name == self.name)
        self._after_add(host, sent)
        if not note.duty:
            self.dictionaries.report(host, entry=True)

    def _presence(self, packet: Packet, who: Host) -> None:
        """ANSENTRY and BR_ABSENCE add a user, whoever asked, wire 3.2."""
        if self._refuses(who) or self._alias(who):
            return
        host = self.table.add(who, self.world.now, entry=False, by_list=False)
        self._after_add(host, None)
        if packet.mode == Command.BR_ABSENCE:
            self.dictionaries.report(host)

    def _br_exit(self, who: Host) -> None:
        """Removes who is at that address and port, wire 3.2."""
        if self._alias(who):
            return
        there = self.table.by_place.get(who.place)
        if there is not None:
            self.dictionaries.report(there, gone=True)
        self.table.delete(who.place)

    def _after_add(self, host: Host, because: Sent | None) -> None:
        """The key of a member master is asked for, wire 3.3."""
        wanted = Option.ENCRYPT | Option.CAPUTF8 | Option.DIR_MASTER
        if host.status & wanted != wanted or host.name in self.keys.by_name or host.name == self.name:
            return
        if pubkey.claimed(host.logon):
            asks = self.plain(Command.GETPUBKEY | AUTORETOPT, pubkey.write_capability())
            self._say_to(asks, host.address, because)

    def take(self, host: Host) -> None:
        """A user of a list, wire 3.6 and 4: as if by BR_ENTRY, but nobody is answered."""
        if self._refuses(host):
            return
        own = host.name == self.name
        self._after_add(self.table.add(host, self.world.now, entry=True, by_list=True, own=own), None)

    def _queue_answer(self, who: Host, sent: Sent, options: int) -> None:
        """One timer for all that wait, set for the first; later for long lists, wire 3.2."""
        if any(waiting.name == who.name for waiting, _, _ in self._answers):
            return
        utf8 = Option.UTF8 if options & Option.CAPUTF8 else 0
        self._answers.append((who, sent, utf8))
        if len(self._answers) > QUEUE:
            self._answer(self._answers.pop())
        elif len(self._answers) == 1:
            users = len(self.table)
            spread = 1023 if users < 50 else 2047 if users < 300 else 4095
            self.timer("answers", 0.005 + self.world.random.randint(0, spread) / 1000, self._answer_all)

    def _answer_all(self) -> None:
        waiting, self._answers = self._answers, []
        for one in waiting:
            self._answer(one)

    def _answer(self, waiting: tuple[Host, Sent, int]) -> None:
        who, sent, utf8 = waiting
        self._say_to(self.presence(Command.ANSENTRY | utf8), who.address, sent)

    # -- time ------------------------------------------------------------------------------------------------------

    def later(self, delay: float, what: Callable[[], object]) -> None:
        """In this process, if it still runs then."""
        timers = self._timers
        self.world.after(delay, lambda: self.alive and self._timers is timers and what())

    def timer(self, name: str, delay: float, what: Callable[[], object]) -> None:
        """One of its timers: set again it rings once, at the later time."""
        token = self._timers[name] = object()
        self.later(delay, lambda: self._timers.get(name) is token and what())

    def stop(self, name: str) -> None:
        self._timers.pop(name, None)

    def _later_of(self, timers: dict[str, object], delay: float, what: Callable[[], object]) -> None:
        """The same for a process that is ending."""
        self.world.after(delay, lambda: self._timers is timers and what())

    def _say_to(self, data: bytes, to: str, because: Sent | None) -> None:
        if because is not None:
            self.provoked += because.announces
        self.send(data, to)
