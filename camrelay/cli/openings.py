"""What must be open between segments, computed from the segments alone: pure, no I/O.

Clients talk to each other directly (messages UDP 2425 from port 2425 to port 2425, files TCP to port 2425),
so the openings are between every two segments; the relay itself needs one opening to each remote segment.
"""

from __future__ import annotations

from ipaddress import IPv4Network, collapse_addresses
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from camrelay.relay.segment import network_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.trace.words import Language

MOST_PAIRED = (
    5  # segments listed pair by pair (10 pairs); above, one group that network people make an object of
)
PORT = 2425

# Why an opening is needed.
PRESENCE, FILES, SWEEP = "presence", "files", "sweep"
PURPOSES = {
    "en": {
        PRESENCE: "presence, messages, receipts",
        FILES: "files, pictures",
        SWEEP: "relay asks who is there; they answer",
    },
    "ja": {
        PRESENCE: "参加通知、メッセージ、開封確認",
        FILES: "ファイル、画像",
        SWEEP: "中継サーバーからの問い合わせと応答",
    },
}

NOTES = {
    "en": (
        "Datagrams by which the relay announces a user carry that user's own address as source. Into remote"
        " segments they leave from the relay's own segment with addresses of that segment, so reverse path checks"
        " (uRPF, rp_filter) on routers pass them.",
        "Inside its own segment the relay speaks with addresses of other segments: at its switch port IP source"
        " guard (ip verify source) must be off, and so must a virtual switch's or Wi-Fi controller's check for"
        " forged sources. DHCP snooping, ARP inspection and port security may stay: its MAC and ARP are its own.",
        "No broadcast needs to pass a router: leave ip directed-broadcast off.",
        "UDP goes from port 2425 to port 2425 in both directions. A stateless filter must also let TCP answers"
        " back: from port 2425 to any port.",
        "Relays of one fleet link with each other over TCP, port 2425 unless [peers] port says otherwise: open it"
        " between the addresses of every two of them, in both directions, since either side may dial.",
        "Rules between two remote segments are needed where each has a camrelay of its own, or with"
        " between_remote = true.",
    ),
    "ja": (
        "中継サーバーがユーザーを通知するパケットの送信元は、そのユーザー本人のアドレスです。離れたセグメントへは、"
        "自セグメントのアドレスを送信元として自セグメントから送るので、ルーターの逆経路検査(uRPF、rp_filter)は通ります。",
        "自セグメントの中では、ほかのセグメントのアドレスを送信元にして送ります。中継サーバーをつなぐスイッチポートでは"
        " IP ソースガード(ip verify source)を、仮想スイッチや無線 LAN コントローラーでは送信元 IP アドレスの検査を、"
        "無効にしてください。DHCP スヌーピング、ARP インスペクション、ポートセキュリティは有効のままでかまいません。"
        "MAC アドレスと ARP は中継サーバー自身のものです。",
        "ブロードキャストをルーター越えさせる必要はありません。ip directed-broadcast は無効のままにしてください。",
        "UDP は双方向とも 2425 番から 2425 番への通信です。ステートレスなフィルターでは、TCP の応答"
        "(2425 番から任意のポート)も許可してください。",
        "フリートの中継サーバー同士は TCP でつながります。ポートは [peers] port に指定がなければ 2425 番です。"
        "どちらからも接続するので、すべての組のアドレスの間を双方向で許可してください。",
        "離れたセグメント同士の規則が必要なのは、それぞれに中継サーバーがあるか、between_remote = true の場合です。",
    ),
}


class Rule(NamedTuple):
    """One opening. ``both`` means that the mirrored rule is needed, too."""

    purpose: str  # of PURPOSES
    source: tuple[str, ...]
    destination: tuple[str, ...]
    protocol: str  # "udp" or "tcp"
    source_port: str  # "2425" or "any"
    port: int
    both: bool


class Openings(NamedTuple):
    """All that must be open. Networks as "192.168.1.0/24"; ``relays`` are this box's own addresses."""

    local: tuple[str, ...]
    remote: tuple[str, ...]
    relays: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def segments(self) -> tuple[str, ...]:
        """Own and remote ones together."""
        return _sorted([*self.local, *self.remote])

    def document(self, lang: Language = "en") -> dict[str, Any]:
        """As JSON: stable names; what is for people is in ``lang``."""
        rules = [
            {
                "id": rule.purpose,
                "purpose": PURPOSES[lang][rule.purpose],
                "from": list(rule.source),
                "to": list(rule.destination),
                "protocol": rule.protocol,
                "source_port": rule.source_port,
                "port": rule.port,
                "both_ways": rule.both,
            }
            for rule in self.rules
        ]
        return {
            "local": list(self.local),
            "remote": list(self.remote),
            "relays": list(self.relays),
            "rules": rules,
            "notes": list(NOTES[lang]),
        }


def network(segment: str) -> str:
    """A segment as a network: "192.168.1.*" is "192.168.1.0/24", an address its /32."""
    return str(network_of(segment, strict=False))


def openings(
    local: Sequence[str], relays: Sequence[str], remote: Sequence[str], fleet: Sequence[str] = ()
) -> Openings:
    """The rules for own networks, own addresses, remote segments and those of other relays (own ones are skipped)."""
    own = [IPv4Network(text) for text in local]

    def beyond(segments: Sequence[str]) -> tuple[str, ...]:
        far = map(network, segments)
        return _sorted([text for text in far if not any(IPv4Network(text).subnet_of(mine) for mine in own)])

    here, there, swept = _sorted(local), beyond([*remote, *fleet]), beyond(remote)
    rules = _between((*here, *there))
    if swept and relays:
        rules.append(Rule(SWEEP, tuple(relays), swept, "udp", str(PORT), PORT, True))
    return Openings(here, there, tuple(relays), tuple(rules))


def _between(segments: Sequence[str]) -> list[Rule]:
    """Client to client, between every two of them: pair by pair, or as one group if they are many."""
    if len(segments) > MOST_PAIRED:
        group = _sorted(segments)
        pairs = [(group, group)]
    else:
        pairs = [((one,), (other,)) for one, other in combinations(segments, 2)]
    rules = [Rule(PRESENCE, one, other, "udp", str(PORT), PORT, True) for one, other in pairs]
    return rules + [Rule(FILES, one, other, "tcp", "any", PORT, True) for one, other in pairs]


def _sorted(networks: Sequence[str]) -> tuple[str, ...]:
    """By number, with those that lie inside others left out."""
    unique = {IPv4Network(text) for text in networks}
    kept = [one for one in unique if not any(one != other and one.subnet_of(other) for other in unique)]
    return tuple(str(one) for one in sorted(kept))


def nft(found: Openings) -> str:
    """A chain for a Linux router, loadable with ``nft -f`` as often as one likes."""
    elements = ", ".join(str(one) for one in collapse_addresses(map(IPv4Network, found.segments)))
    between = "ip saddr @ipmsg_segments ip daddr @ipmsg_segments"
    return f"""\
# IP Messenger between segments, for a Linux router. Load with nft -f FILE; it replaces itself.
# Then let the chain that filters forwarded packets call it once, before that one drops:
#     nft insert rule inet filter forward jump ipmsg
table inet filter {{
    set ipmsg_segments {{
        type ipv4_addr
        flags interval
    }}
    chain ipmsg {{
    }}
}}
flush set inet filter ipmsg_segments
flush chain inet filter ipmsg
table inet filter {{
    set ipmsg_segments {{
        type ipv4_addr
        flags interval
        elements = {{ {elements} }}
    }}
    chain ipmsg {{
        {between} udp sport {PORT} udp dport {PORT} counter accept comment "presence, messages, sweep"
        {between} tcp dport {PORT} counter accept comment "files"
        {between} tcp sport {PORT} ct state established counter accept comment "files, the way back"
    }}
}}
"""


def netsh(found: Openings) -> str:
    """The lines for Windows PCs whose firewall lets only LocalSubnet reach IP Messenger."""
    remote = ",".join(found.segments)
    lines = [
        f'netsh advfirewall firewall add rule name="IP Messenger {protocol} from other segments" dir=in'
        f" action=allow protocol={protocol} localport={PORT} remoteip={remote} profile=domain,private"
        for protocol in ("UDP", "TCP")
    ]
    return "\n".join(lines) + "\n"
