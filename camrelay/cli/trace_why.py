"""``camrelay trace why USER``: a card for each user that is meant: known from where, told to whom, gone when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand

if TYPE_CHECKING:
    from camrelay.trace.facts import Fact, Finding
    from camrelay.trace.words import Language

app = subcommand()


@app.command()
def why(
    user: Annotated[str, typer.Argument(metavar="USER", help="Address, logon, host, LOGON/HOST or nick.")],
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say where a user is known from, who was told of it, and when it goes.

    Shown are: by which datagram it is known, and since when; which relay owns it, and which ones hear it, too; in which
    command and charset the clients of each segment are told of it, or why they are not; what happened to it lately;
    when it is asked, given up and forgotten. Found are: one name on two machines, one address used by two, changes
    between cable and Wi-Fi, names in a wrong charset.

    \b
    Examples:
      camrelay trace why tanaka
      camrelay trace why 192.168.1.11
      camrelay trace why tanaka/PC-01 --lang ja
      camrelay trace why 田中 --json | jq '.users[0].row.audience'

    \b
    Exit codes:
      0  nothing wrong was found
      1  something was, or nobody of this name is known
      2  wrong usage or configuration, or too many users match
      3  the daemon is not running
    """
    from camrelay.cli import trace_view
    from camrelay.cli.asking import result

    answer = result(config, {"do": "why", "more": {"user": user}})
    language = trace_view.language(lang)
    cards = [_Judged(one, answer, language) for one in answer["users"]] or [_Judged(None, answer, language)]
    if as_json:
        _print_json(answer, cards, language)
    else:
        _print(cards, language)
    return max(trace_view.exit_code(card.findings) for card in cards)


class _Judged:
    """One user, or nobody, and what is to be said about it."""

    def __init__(self, one: dict[str, Any] | None, answer: dict[str, Any], lang: Language) -> None:
        from camrelay.cli import trace_view
        from camrelay.cli.whycard import worded

        self.one = one
        row = one["row"] if one else {"nick": answer["word"], "address": answer["word"]}
        self.subject = {"user": row["nick"], "address": row["address"], "here": answer["here"]}
        self.read: list[Fact] = trace_view.read(one["facts"] if one else answer["facts"])
        self.facts = [worded(fact, lang) for fact in self.read]
        self.findings: list[Finding] = trace_view.judge("why", self.facts, self.subject)


def _print_json(answer: dict[str, Any], cards: list[_Judged], lang: Language) -> None:
    from camrelay.cli.show import print_json
    from camrelay.cli.trace_view import document

    shown = []
    for card in cards:
        said = document({"subject": card.subject}, card.facts, card.findings, lang)
        for fact, plain in zip(said["facts"], card.read, strict=True):
            fact["detail"] = plain.detail
        del said["lang"]
        shown.append(
            {**({"row": card.one["row"], "history": card.one["history"]} if card.one else {}), **said}
        )
    found = [one for one, card in zip(shown, cards, strict=True) if card.one]
    about = {key: answer[key] for key in ("word", "here", "segment")}
    nobody = {} if found else {key: shown[0][key] for key in ("facts", "verdicts")}
    print_json({**about, "users": found, **nobody, "lang": lang})


def _print(cards: list[_Judged], lang: Language) -> None:
    from camrelay.cli.show import console
    from camrelay.cli.trace_view import Board, print_verdicts
    from camrelay.cli.whycard import print_card

    out = console()
    for number, card in enumerate(cards):
        if number:
            out.line(2)
        if card.one:
            print_card(out, card.one, lang)
        else:
            out.print(Board(lang, out).table(card.facts, card.subject))
        print_verdicts(out, card.findings, lang)
