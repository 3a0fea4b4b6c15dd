"""The one table of every key: name, type, kind, default and the reason for it.

Reading (``camrelay.config``) and writing (``camrelay.config.writing``) go by these structs.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import msgspec

from camrelay.config import kinds
from camrelay.relay.rules import Settings, Share

DEFAULT_PATH = "/etc/camrelay/camrelay.toml"


class Key(NamedTuple):
    """What stands beside a field: its kind, the reason for it, an example where the default is nothing."""

    kind: kinds.Kind
    reason: str
    example: Any = None
    required: bool = False

    def sample(self, default: Any) -> str:
        """A value as TOML: the example if there is one."""
        return self.kind.write(default if self.example is None else self.example)


class RelayKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This relay itself."""

    name: Annotated[
        str, Key(kinds.TEXT, "How the relay shows up in user lists. Default: the host name.", "hq-2f")
    ] = ""
    group: Annotated[str, Key(kinds.TEXT, "The group it shows up in.")] = "CAMRelay"
    interfaces: Annotated[
        tuple[str, ...] | None,
        Key(
            kinds.INTERFACES,
            "The interfaces whose segments it serves. Default: all that are up, can broadcast and have a\n"
            "private address, without container and VM bridges; `camrelay config check` shows which and why.",
            ("eth0", "wlan0"),
        ),
    ] = None
    also: Annotated[
        tuple[str, ...],
        Key(
            kinds.ALSO,
            "More networks on the same wire as an interface, when clients of two networks share one switch.",
            ("eth0=192.168.9.0/24",),
        ),
    ] = ()
    accept_from: Annotated[
        tuple[str, ...],
        Key(
            kinds.NETWORKS,
            "Further networks whose clients may speak to the relay. Own segments and [remote] segments\n"
            "always may; everything else is dropped and counted.",
            ("10.9.0.0/16",),
        ),
    ] = ()
    state: Annotated[str, Key(kinds.PATH, "Where the roster database is kept.")] = "/var/lib/camrelay"
    control: Annotated[
        str,
        Key(kinds.SOCKET, "The socket that `camrelay status` and the other commands ask."),
    ] = "/run/camrelay/control.sock"
    log_level: Annotated[
        str,
        Key(
            kinds.one_of("debug", "info", "warning", "error"),
            "The least important lines that are logged: debug, info, warning or error.",
        ),
    ] = "info"
    log_format: Annotated[
        str,
        Key(
            kinds.one_of("text", "json"),
            "text (key=value, for people and journalctl) or json (for a collector).",
        ),
    ] = "text"
    codepage: Annotated[
        str,
        Key(
            kinds.CODEPAGE,
            "How names are read of clients that give no sign of their character set. cp932 is what Japanese\n"
            "Windows uses; gb18030 for Chinese, cp949 for Korean.",
        ),
    ] = "cp932"


class RemoteKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Segments behind routers."""

    segments: Annotated[
        tuple[str, ...],
        Key(
            kinds.SEGMENTS,
            "The segments whose users the relay looks for. Only the fourth octet may be *, it becomes 1 to\n"
            "254. Own segments may stand here too (they are skipped), so one file serves all sites.\n"
            "Default: none.",
            ("192.168.1.*", "192.168.2.*", "10.1.5.20"),
        ),
    ] = ()
    sweep_every: Annotated[
        float,
        Key(
            kinds.duration("30s", "7d"),
            "How often each known or recently used address there is asked whether its user is still there.\n"
            "For the security team: one small UDP datagram to port 2425 per address and round.",
        ),
    ] = 600.0
    sweep_unknown_every: Annotated[
        float,
        Key(
            kinds.duration("30s", "7d"),
            "The same for addresses that never answered.",
        ),
    ] = 3600.0
    sweep_rate: Annotated[
        int,
        Key(
            kinds.number(
                1,
                200,
                "above 200 the neighbour table of an ordinary router overflows and live hosts are missed",
            ),
            "Datagrams per second at most while sweeping (1 to 200; faster overflows the neighbour table\n"
            "of an ordinary router, and most live hosts are missed).",
        ),
    ] = 150
    between_remote: Annotated[
        bool,
        Key(
            kinds.SWITCH,
            "Also announce the users of one remote segment to another one. Whether that arrives depends\n"
            "on the routers between (many drop a source address from the wrong side), so it is off.",
        ),
    ] = False
    announce_every: Annotated[
        float,
        Key(
            kinds.duration("60s", "7d"),
            "How often each segment hears all users of the others again: what a client lost comes back.",
        ),
    ] = 7200.0


class PeersKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The other relays of the fleet (camrelay peer)."""

    port: Annotated[
        int,
        Key(
            kinds.number(1, 65535, "a TCP port"),
            "The TCP port on which other relays connect. 2425 is open for IP Messenger's files anyway, and their\n"
            "requests are answered there too.",
        ),
    ] = 2425
    address: Annotated[
        str,
        Key(
            kinds.DIALLED,
            "What other relays are told to dial: a host name or an address, with :PORT where a router forwards\n"
            "another one. Default: the addresses of our interfaces.",
            "relay-2f.example.com",
        ),
    ] = ""
    sync_every: Annotated[
        float,
        Key(
            kinds.duration("1m", "7d"),
            "How often each other relay is asked whether both know the same users; one small message if so.\n"
            "Changes are told at once, without waiting for this.",
        ),
    ] = 7200.0
    keep_users: Annotated[
        float,
        Key(
            kinds.duration("0s", "7d"),
            "How long the users of a relay that is away stay listed here.",
        ),
    ] = 3600.0


class UsersKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long users are kept."""

    silent_after: Annotated[
        float,
        Key(
            kinds.duration("2s", "1d"),
            "A local user silent for this long, or for 46 s after a start, leaves all lists; 40 s are spent asking.",
        ),
    ] = 200.0
    forget_after: Annotated[
        float,
        Key(kinds.duration("1m", "3650d"), "An offline user is dropped from the roster after this."),
    ] = 604800.0


class MasterKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """IP Messenger's own way over routers (4.5 and later): clients that name this relay as their member master."""

    enabled: Annotated[
        bool,
        Key(
            kinds.SWITCH,
            "Be a full member master: make up to 3 clients of each segment behind routers report who is there\n"
            "and pass changes on (TCP port 2425 to them). Off, because clients then show the relay as master\n"
            "and tell it of every change, and nobody needs it where [remote] segments are swept.",
        ),
    ] = False


class ShareKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is shown where: one [[share]] for each rule. The first rule that fits decides; where none fits, everybody
    is shown. A rule is about one direction: whom it hides from others still sees them."""

    from_: Annotated[
        tuple[str, ...],
        Key(
            kinds.SHOWN,
            'The users it is about: segments ("192.168.1.*", "10.1.2.0/24", one address), "group:NAME" (* stands\n'
            'for anything), "peer:NAME" (users told by that relay of the fleet), "here" (our own segments), "*".',
            ("group:Directors", "192.168.9.*"),
            required=True,
        ),
    ] = msgspec.field(default=(), name="from")
    to: Annotated[
        tuple[str, ...],
        Key(
            kinds.AUDIENCE,
            'Who would see them: segments, "peer:NAME" (all that this relay of the fleet is told), "here", "*"\n'
            "(all segments and all peers).",
            ("192.168.1.*", "192.168.2.*"),
            required=True,
        ),
    ] = ()
    allow: Annotated[
        bool,
        Key(kinds.SWITCH, "false: they are not shown there. true: they are, whatever later rules say."),
    ] = False


class Config(msgspec.Struct, frozen=True):
    """A whole configuration. ``path``: the file read ("": all defaults); ``notes``: lines worth saying."""

    relay: RelayKeys = RelayKeys()
    remote: RemoteKeys = RemoteKeys()
    peers: PeersKeys = PeersKeys()
    users: UsersKeys = UsersKeys()
    master: MasterKeys = MasterKeys()
    share: tuple[ShareKeys, ...] = ()
    path: str = ""
    notes: tuple[str, ...] = ()

    @property
    def control(self) -> str:
        """Where the daemon answers."""
        return self.relay.control

    def settings(self, hostname: str) -> Settings:
        """What the relay decides by; ``hostname`` is its name where none is configured."""
        return Settings(
            name=self.relay.name or hostname,
            group=self.relay.group,
            remote=self.remote.segments,
            accept_from=self.relay.accept_from,
            codepage=self.relay.codepage,
            sweep_every=self.remote.sweep_every,
            sweep_unknown_every=self.remote.sweep_unknown_every,
            sweep_rate=float(self.remote.sweep_rate),
            announce_every=self.remote.announce_every,
            between_remote=self.remote.between_remote,
            master=self.master.enabled,
            sync_every=self.peers.sync_every,
            keep_users=self.peers.keep_users,
            silent_after=self.users.silent_after,
            forget_after=self.users.forget_after,
            shares=tuple(Share(rule.from_, rule.to, rule.allow) for rule in self.share),
        )

    def also(self) -> dict[str, list[str]]:
        """More networks per interface name, from ``[relay] also``."""
        found: dict[str, list[str]] = {}
        for text in self.relay.also:
            name, _, network = text.partition("=")
            found.setdefault(name, []).append(network)
        return found


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "relay": RelayKeys,
    "remote": RemoteKeys,
    "peers": PeersKeys,
    "users": UsersKeys,
    "master": MasterKeys,
}
# Those that may stand there several times, as [[NAME]].
LISTS: dict[str, type[msgspec.Struct]] = {"share": ShareKeys}


def keys(section: type[msgspec.Struct]) -> dict[str, Key]:
    """Every key of a section, in the order of the file."""
    hints = get_type_hints(section, include_extras=True)
    names = zip(section.__struct_encode_fields__, section.__struct_fields__, strict=True)
    return {key: get_args(hints[name])[1] for key, name in names}


def values(section: msgspec.Struct) -> dict[str, Any]:
    """What stands in a section, by key."""
    names = zip(section.__struct_encode_fields__, section.__struct_fields__, strict=True)
    return {key: getattr(section, name) for key, name in names}
