"""``camrelay listen``: on any Linux PC of a segment, without configuration: which relays are heard there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import JsonOption, subcommand
from camrelay.cli.trace_view import LangOption, language

if TYPE_CHECKING:
    from camrelay.daemon.doctor.listening import Heard, Relays
    from camrelay.trace.words import Language

app = subcommand()

WORDS = {
    "en": {
        "begin": "listening at UDP port {port}{until}",
        "for": " for {seconds:g} s",
        "ever": " until Ctrl-C",
        "relay": "relay {nick} ({said})",
        "present": "a relay announces {nick}",
        "exit": "a relay takes {nick} off the lists",
        "own": "relay {relay} asks in its own name: {answered}",
        "foreign": "relay {relay} asks in another name: {answered}",
        "answered": "answered",
        "unanswered": "not answered",
        "nobody": "no relay was heard: is there one in this segment, and does this PC's firewall admit UDP 2425?",
        "sum": "relays: {relays}; announcements: {announcements}",
        "none": "none showed itself",
        "dropped": "a relay's own words arrive here, those in the name of others do not: a switch port or router"
        " between drops foreign source addresses",
    },
    "ja": {
        "begin": "UDP ポート {port} で待ち受けています{until}",
        "for": "({seconds:g} 秒間)",
        "ever": "(Ctrl-C で終了)",
        "relay": "中継サーバー {nick}({said})",
        "present": "中継サーバーが {nick} を通知",
        "exit": "中継サーバーが {nick} の終了を通知",
        "own": "中継サーバー {relay} からの問い合わせ(自身として): {answered}",
        "foreign": "中継サーバー {relay} からの問い合わせ(ほかのユーザーとして): {answered}",
        "answered": "応答しました",
        "unanswered": "応答していません",
        "nobody": "中継サーバーからの通信はありませんでした。このセグメントに中継サーバーがあるか、"
        "この PC のファイアウォールが UDP 2425 を許可しているかを確認してください",
        "sum": "参加を通知した中継サーバー: {relays}。ユーザーの通知: {announcements} 件",
        "none": "なし",
        "dropped": "中継サーバー自身の送信は届きますが、ほかのユーザーとしての送信は届きません。"
        "途中のスイッチポートかルーターが、ほかのセグメントの送信元アドレスのパケットを破棄しています",
    },
}


@app.command()
def listen(
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", "-t", min=0.1, help="End after so many seconds; else with Ctrl-C."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Another UDP port, for tests.")
    ] = 2425,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Hear the relays of this segment, and answer camrelay doctor when a relay here asks.

    For any Linux PC, without configuration, daemon or privilege; no IPMSG program may run on it meanwhile. Shows
    relays that show themselves, users whom a relay announces (TTL 1), and a doctor's questions. With --json: one
    object per line as things are heard, then one with the summary.

    \b
    Examples:
      camrelay listen
      camrelay listen --seconds 60 --json

    \b
    Exit codes:
      0  a relay was heard
      1  none was, or the port is taken (by an IPMSG program of this PC?)
      2  wrong usage
    """
    from camrelay.cli.show import console, print_json
    from camrelay.cli.wrapping import wrap
    from camrelay.daemon.doctor.box import Box
    from camrelay.daemon.doctor.listening import Relays, open_socket
    from camrelay.daemon.doctor.listening import listen as hear

    spoken = language(lang)
    found, width = Relays(), console().width
    with open_socket(Box(), port) as sock:
        if not as_json:
            said = WORDS[spoken]
            until = said["ever"] if seconds is None else said["for"].format(seconds=seconds)
            print(said["begin"].format(port=port, until=until), flush=True)
        try:
            for heard in hear(sock, seconds):
                found.take(heard)
                print_json(_plain(heard), lines=True) if as_json else print(
                    _line(heard, spoken, width), flush=True
                )
        except KeyboardInterrupt:
            pass
    if as_json:
        print_json(summary(found), lines=True)
    else:
        print("\n".join(wrap(line, width) for line in conclusion(found, spoken)))
    return 0 if found.relays or found.announcements or found.questions else 1


def _plain(heard: Heard) -> dict[str, Any]:
    return {"heard": {**heard._asdict(), "at": round(heard.at, 3)}}


def summary(found: Relays) -> dict[str, Any]:
    """What was heard, in numbers."""
    return {
        "relays": list(found.relays.values()),
        "announcements": found.announcements,
        "announced": found.announced,
        "questions": {"own": found.own, "foreign": found.foreign},
    }


def _line(heard: Heard, lang: Language, width: int) -> str:
    """Time and source, then in the rest of ``width`` columns what was heard."""
    from camrelay.cli.show import clean
    from camrelay.cli.wrapping import wrap

    said = WORDS[lang]
    if heard.what == "relay":
        text = said["relay"].format(nick=clean(heard.nick), said=heard.said)
    elif heard.what == "announcement":
        text = said["exit" if heard.said == "exit" else "present"].format(nick=clean(heard.nick))
    else:
        answered = said["answered" if heard.answered else "unanswered"]
        name = "own" if heard.source == heard.relay else "foreign"
        text = said[name].format(relay=heard.relay, answered=answered)
    head = f"{heard.at:8.3f}  {heard.source:<15}  "
    return head + wrap(text, width, len(head), len(head))


def conclusion(found: Relays, lang: Language) -> list[str]:
    """What that means."""
    said = WORDS[lang]
    if not (found.relays or found.announcements or found.questions):
        return [said["nobody"]]
    relays = ", ".join(found.relays) or said["none"]
    lines = [said["sum"].format(relays=relays, announcements=found.announcements)]
    if found.own and not found.foreign:
        lines.append(said["dropped"])
    return lines
