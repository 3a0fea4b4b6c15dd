"""How watched datagrams are shown: a line for each, their bytes, JSON, and the table of who sent how many."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from camrelay.cli.pcapng import Packet
from camrelay.cli.show import clean, console, fits, listing, print_json
from camrelay.cli.wrapping import Prose
from camrelay.ipmsg.command import PORT
from camrelay.ipmsg.discreet import command_of
from camrelay.ipmsg.summary import command_name, message_text, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

MOST_ROWS: Final = 50  # of the table; all are in the JSON

WORDS: Final = {
    "en": {
        "in": "in ", "out": "out", "all": "to all", "as": "as {}",
        "lost": "-- {lost} lines left out so far: shown too slowly",
        "skipped": "-- {skipped} datagrams not shown so far: more than 2,000 per second",
        "user": "user", "address": "address", "segment": "segment",
        "from": "from it", "to": "to it", "for": "in its name", "others": "all others",
        "more": "and {} more: see --json",
        "total": "in: {in_packets} packets, {in_bytes} bytes; out: {out_packets} packets, {out_bytes} bytes;"
        " {seconds:.1f} s",
        "incomplete": "not shown, but counted: {lost} (shown too slowly), {skipped} (too many per second)",
        "nothing": "nothing was seen",
        "cell": "{} ({} bytes)",
    },
    "ja": {
        "in": "受信", "out": "送信", "all": "全員宛", "as": "{} として",
        "lost": "-- 表示が間に合わず、これまでに {lost} 行を省略しました",
        "skipped": "-- 毎秒 2,000 を超えたため、これまでに {skipped} 個を表示していません",
        "user": "ユーザー", "address": "アドレス", "segment": "セグメント",
        "from": "このユーザーから", "to": "このユーザーへ", "for": "このユーザーとして",
        "others": "その他すべて", "more": "ほか {} 件: --json を参照",
        "total": "受信: {in_packets} パケット {in_bytes} バイト、送信: {out_packets} パケット {out_bytes} バイト、"
        "{seconds:.1f} 秒",
        "incomplete": "表示していないパケット(集計には含みます): {lost}(表示の遅れ)、{skipped}(毎秒の上限)",
        "nothing": "該当するパケットはありませんでした",
        "cell": "{} ({} バイト)",
    },
}  # fmt: skip


class Screen:
    """Shows the events of a watch. ``packets``: how many it was about, as far as is known."""

    def __init__(self, lang: str, *, as_json: bool, as_hex: bool, bodies: bool, lines: bool) -> None:
        self.packets = 0
        self._words = WORDS[lang]
        self._json, self._hex, self._bodies, self._lines = as_json, as_hex, bodies, lines
        self._codepage = ""
        self._rows: list[dict[str, Any]] = []
        self._told = {"lost": 0, "skipped": 0}
        self._out = console()

    def show(self, event: dict[str, Any], lost: int) -> None:
        """One event; ``lost``: lines left out on our side until now."""
        if "began" in event:
            self._codepage = event["began"]["codepage"]
        for line in event.get("lines", ()) if self._lines else ():
            self._line(line)
        if "lines" in event:
            self.packets += len(event["lines"])
            self._tell_losses(event["lost"] + lost, event["skipped"])
            self._out.file.flush()
        self._rows += event.get("rows", ())
        if "totals" in event:
            self._end(event["totals"] | {"lost": event["totals"]["lost"] + lost})

    def _line(self, line: dict[str, Any]) -> None:
        data, charset = b64decode(line["data"]), line.get("charset", "")
        said = summary(data, self._codepage, charset)
        text = message_text(data, self._codepage, charset) if self._bodies else ""
        if self._json:
            print_json(self._object(line, data, said, text), lines=True)
            return
        self._print(self._styled(line, said))
        for more in text.splitlines():
            self._print(f"    | {clean(more)}")
        for more in hexdump(data) if self._hex else ():
            self._print(f"    {more}")

    def _print(self, text: str | Text) -> None:
        """One line, not folded: rich costs ten times as much as print, and is for eyes only."""
        if self._out.is_terminal:
            self._out.print(text, soft_wrap=True)
        else:
            print(text, file=self._out.file)

    def _object(self, line: dict[str, Any], data: bytes, said: str, text: str) -> dict[str, Any]:
        mode = command_of(data)
        return {
            "time": _when(line).isoformat(timespec="milliseconds"),
            "direction": "out" if line.get("out") else "in",
            **{key: line[key] for key in ("source", "source_port", "target", "target_port")},
            "broadcast": line.get("broadcast", False),
            **{key: line.get(key, "") for key in ("interface", "name", "speak_as", "fate")},
            "ttl": line.get("ttl", 0),
            "command": "malformed" if mode is None else command_name(mode),
            "bytes": len(data),
            "summary": said,
            **({"text": text} if self._bodies else {}),
            **({"data": data.hex()} if self._hex else {}),
        }

    def _styled(self, line: dict[str, Any], said: str) -> Text:
        from rich.text import Text

        out, fate = line.get("out", False), line.get("fate", "")
        words = self._words
        other, port = (line["target"], line["target_port"]) if out else (line["source"], line["source_port"])
        who = other if port == PORT else f"{other}:{port}"
        notes = [words["all"]] if line.get("broadcast") else []
        notes += [words["as"].format(line["speak_as"])] if line.get("speak_as") else []
        return Text.assemble(
            (_when(line).strftime("%H:%M:%S.%f")[:-3], "dim"), "  ",
            (words["out" if out else "in"], "cyan" if out else "green"), "  ",
            (clean(f"{who} {line.get('name', '')}".rstrip()), "bold"),
            clean(f" ({', '.join(notes)})" if notes else ""), "  ", clean(said),
            (f"  => {clean(fate)}" if fate else "", "red" if "dropped" in fate else "yellow"),
        )  # fmt: skip

    def _tell_losses(self, lost: int, skipped: int) -> None:
        now = {"lost": lost, "skipped": skipped}
        grown = [cause for cause in now if now[cause] > self._told[cause]]
        self._told = now
        if not self._lines or not grown:
            return
        if self._json:
            print_json(now, lines=True)
            return
        for cause in grown:
            self._print(self._words[cause].format(**now))

    def _end(self, totals: dict[str, Any]) -> None:
        self.packets = totals["in_packets"] + totals["out_packets"]
        rows = sorted(self._rows, key=_bytes, reverse=True)
        if self._json:
            print_json({"totals": totals, "users": rows}, lines=True)
            return
        words = self._words
        if not self.packets:
            self._out.print(words["nothing"])
            return
        heads = [words[key] for key in ("user", "address", "segment", "from", "to", "for")]
        pairs = ((0, 1, 2), (3,), (4,), (5,))
        for cell in (words["cell"], words["cell"].replace(" (", "\n(")):
            cells = [
                [clean(text) for text in self._names(row)] + counts(row, cell) for row in rows[:MOST_ROWS]
            ]
            made = listing(self._out, heads, cells, pairs, right=heads[3:], whole=heads[1:3])
            if fits(self._out, made):
                break
        self._out.line()
        self._out.print(made)
        if len(rows) > MOST_ROWS:
            self._out.print(words["more"].format(len(rows) - MOST_ROWS))
        self._out.print(Prose(words["total"].format(**totals)))
        if totals["lost"] or totals["skipped"]:
            self._out.print(Prose(words["incomplete"].format(**totals)))

    def _names(self, row: dict[str, Any]) -> tuple[str, str, str]:
        return row["user"], row["address"] or self._words["others"], row["segment"]


def counts(row: dict[str, Any], form: str) -> list[str]:
    """Packets and bytes from a user, to it and in its name, as ``form`` words them; "" for none."""
    pairs = ((row[f"{place}_packets"], row[f"{place}_bytes"]) for place in ("from", "to", "as"))
    return [form.format(packets, size) if packets else "" for packets, size in pairs]


def packet_of(line: dict[str, Any]) -> Packet:
    """One line of the daemon, to be saved; what a capture could not know stands in its comment."""
    said = ["sent by the relay" if line.get("out") else "received by the relay"]
    said += [f"in the name of {line['speak_as']}"] if line.get("speak_as") else []
    said += [f"{'to' if line.get('out') else 'from'} {line['name']}"] if line.get("name") else []
    said += [f"=> {line['fate']}"] if line.get("fate") else []
    return Packet(
        line["time"],
        line["source"],
        line["source_port"],
        line["target"],
        line["target_port"],
        b64decode(line["data"]),
        line.get("ttl", 0),
        line.get("out", False),
        line.get("interface", ""),
        ", ".join(said),
    )


def hexdump(data: bytes) -> Iterator[str]:
    """Sixteen bytes to a line: offset, hexadecimal, ASCII."""
    for start in range(0, len(data), 16):
        piece = data[start : start + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        yield f"{start:04x}  {piece.hex(' '):<47}  {shown}"


def _when(line: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(line["time"]).astimezone()


def _bytes(row: dict[str, Any]) -> int:
    return int(row["from_bytes"] + row["to_bytes"] + row["as_bytes"])
