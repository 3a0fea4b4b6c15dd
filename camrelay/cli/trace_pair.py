"""``camrelay trace peer`` and ``path``: the way between two relays, and two users as both their relays see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console
    from rich.table import Table

    from camrelay.cli.options import Language
    from camrelay.trace.facts import Fact
    from camrelay.trace.words import Language as Words

COLUMNS = {
    "en": ("from", "to", "what", " ", "result", "time"),
    "ja": ("送信側", "受信側", "検査", " ", "結果", "時間"),
}
CALLS = {
    "en": "Calls go from PC to PC. The relays measure the call ports between themselves; what the PCs' own firewalls"
    " let in cannot be seen from here.",
    "ja": "通話は PC 同士で直接行われます。測定したのは中継サーバー間の通話ポートです。"
    "各 PC のファイアウォールが通話を通すかどうかは、ここからは確認できません。",
}
SAME_RELAY = {
    "en": "Both users are at relay {relay}: there is no way between relays to measure, and both were looked at from"
    " there.",
    "ja": "どちらのユーザーも中継サーバー {relay} の配下です。"
    "中継サーバー間の測定はなく、両方を {relay} から検査しました。",
}
NO_RELAY = {
    "en": "No relay has a segment for {user}: it was looked at from the other side only.",
    "ja": "{user} のセグメントを担当する中継サーバーがありません。もう一方の側からだけ検査しました。",
}

app = subcommand()


@app.command()
def peer(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A relay of the fleet, as `peer list` names it.")
    ],
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Measure the way between this relay and another one, in both directions.

    The two relays tell each other what arrived: UDP 2425 (loss, delay, jitter), large datagrams, the largest packet
    (MTU), TCP 2425, the ports of voice calls (UDP 22224 to 22229, opened for some seconds), under which address each
    is seen (NAT), whether speaking as others arrives, and the routers on the way. Takes 5 to 15 seconds, 45 at the
    most. No user notices anything.

    \b
    Examples:
      camrelay trace peer branch-2
      camrelay trace peer branch-2 --lang ja
      camrelay trace peer branch-2 --json | jq '.matrix[] | select(.good == false)'

    \b
    Exit codes:
      0  nothing is wrong, or only notes
      1  a warning or a fault was found, or too many traces are running
      2  wrong usage or configuration, or there is no such relay
      3  the daemon is not running
    """
    from camrelay.cli.asking import answers

    return _show("pair", answers(config, {"do": "pair", "more": {"peer": name}}), lang, as_json)


@app.command()
def path(
    first: Annotated[str, typer.Argument(metavar="USER1", help="An address, nick, logon or LOGON/HOST.")],
    second: Annotated[str, typer.Argument(metavar="USER2", help="The one that it cannot see.")],
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find out what keeps two users apart: "Taro cannot see Hanako".

    Each of the two is looked at by the relay of its own segment and by that of the other one, the way between these
    two relays is measured as by `trace peer`, and both say whether the one user is shown to the other. Any relay of
    the fleet can be asked. Takes 10 to 35 seconds, 75 at the most.

    \b
    Examples:
      camrelay trace path taro hanako
      camrelay trace path 10.1.2.33 10.3.0.21 --lang ja
      camrelay trace path taro hanako --json | jq -r '.verdicts[].say'

    \b
    Exit codes:
      0  nothing is wrong, or only notes
      1  a warning or a fault was found, or too many traces are running
      2  wrong usage or configuration, nobody or several users are meant
      3  the daemon is not running
    """
    from camrelay.cli.asking import answers

    more = {"first": first, "second": second}
    return _show("path", answers(config, {"do": "path", "more": more}), lang, as_json)


def _show(about: str, stream: Iterable[tuple[str, Any]], chosen: Language | None, as_json: bool) -> int:
    """Follow the trace, then show matrix, checks of hosts and verdicts; returns the exit code."""
    from rich.text import Text

    from camrelay.cli import trace_view as view
    from camrelay.cli.show import clean, console, print_json
    from camrelay.cli.wrapping import Prose

    lang = view.language(chosen)
    result, facts = view.follow(stream, lang, quiet=as_json, transient=True)
    subject = result["subject"]
    findings = view.judge(about, facts, subject)
    rows = list(_matrix(facts, subject, lang))
    if as_json:
        print_json({**view.document(result, facts, findings, lang), "matrix": rows})
        return view.exit_code(findings)
    out = console()
    if rows:
        out.print(_table(rows, lang, out))
    if hosts := [fact for fact in facts if fact.role]:
        out.print(view.Board(lang, out).table(hosts, subject))
    view.print_verdicts(out, findings, lang)
    for line in _notes(rows, subject, lang):
        out.line()
        out.print(Prose(Text(clean(line), "dim")))
    return view.exit_code(findings)


def _matrix(facts: Iterable[Fact], subject: Mapping[str, str], lang: Words) -> Iterator[dict[str, Any]]:
    """From whom to whom, what, and the result; first all of one direction."""
    from camrelay.trace import words

    relays = (
        subject.get("here") or subject.get("first_relay", ""),
        subject.get("there") or subject.get("second_relay", ""),
    )
    users = subject.get("first", ""), subject.get("second", "")
    ways = [fact for fact in facts if not fact.role]
    for end in ("", "-out", "-in"):
        for fact in ways:
            if _end(fact.check) == end:
                names = users if fact.check.startswith("shown-") else relays
                sender, receiver = reversed(names) if end == "-in" else names
                yield {
                    "from": sender,
                    "to": receiver,
                    "check": fact.check.removesuffix(end) if end else fact.check,
                    "what": words.title(fact.check, lang),
                    "outcome": fact.outcome,
                    "result": words.meaning(fact, lang),
                    "good": words.good(fact),
                    "seconds": fact.seconds,
                }


def _end(check: str) -> str:
    return next((end for end in ("-out", "-in") if check.endswith(end)), "")


def _table(rows: Iterable[Mapping[str, Any]], lang: Words, out: Console) -> Table:
    from rich.text import Text

    from camrelay.cli import trace_view as view
    from camrelay.cli.show import clean, table

    marks = view._marks(out)
    made = table(*COLUMNS[lang], right=(COLUMNS[lang][-1],), whole=COLUMNS[lang][:2])
    before = ("", "")
    for row in rows:
        ends = (row["from"], row["to"])
        mark, style = marks[row["good"]]
        shown = ends if ends != before else ("", "")
        cells = (*(Text(clean(name)) for name in shown), Text(clean(row["what"])), Text(mark, style))
        made.add_row(*cells, Text(clean(row["result"])), Text(view.span(row["seconds"]), "dim"))
        before = ends
    return made


def _notes(rows: Iterable[Mapping[str, Any]], subject: Mapping[str, str], lang: Words) -> Iterator[str]:
    """What the tables do not say."""
    relays = subject.get("first_relay"), subject.get("second_relay")
    if relays[0] and relays[0] == relays[1]:
        yield SAME_RELAY[lang].replace("{relay}", relays[0])
    elif None not in relays:
        for user, relay in zip((subject["first"], subject["second"]), relays, strict=True):
            if not relay:
                yield NO_RELAY[lang].replace("{user}", user)
    if any(row["check"] == "calls" for row in rows):
        yield CALLS[lang]
