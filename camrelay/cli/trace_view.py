"""How traces are shown, whatever they are about: the checks as they finish, the verdicts with the next step, JSON.

Rule kept here: what is said comes from ``camrelay.trace`` in the reader's language; only headings are worded here.
Piped, nothing is shown before the end.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from camrelay.cli.options import LangOption, Language

__all__ = [
    "Board", "LangOption", "Language", "document", "exit_code", "follow", "heading", "judge", "language",
    "print_verdicts", "show", "span",
]  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console
    from rich.table import Table

    from camrelay.trace.facts import Fact, Finding
    from camrelay.trace.reading import Mark
    from camrelay.trace.words import Language as Lang

# Where a group of checks was made, by role; the one of this relay has no heading.
HEADINGS = {
    "en": {
        "far": "seen by {by}, in its own segment",
        "pair": "between {here} and {by}",
        "1": "{first}, seen by {by}",
        "2": "{second}, seen by {by}",
        "1far": "{first}, seen by {by}",
        "2far": "{second}, seen by {by}",
    },
    "ja": {
        "far": "{by}(同じセグメント内)から見た結果",
        "pair": "{here} と {by} の間",
        "1": "{by} から見た {first}",
        "2": "{by} から見た {second}",
        "1far": "{by} から見た {first}",
        "2far": "{by} から見た {second}",
    },
}
WORDS = {
    "en": {
        "check": "check",
        "result": "result",
        "time": "time",
        "verdict": "Verdict",
        "do": "What to do",
        "well": "Nothing wrong was found.",
    },
    "ja": {
        "check": "検査",
        "result": "結果",
        "time": "時間",
        "verdict": "診断",
        "do": "対処",
        "well": "問題は見つかりませんでした。",
    },
}
STYLES = {"fault": "bold red", "warning": "bold yellow", "note": "bold cyan"}
MARKS: dict[Mark, tuple[str, str]] = {True: ("✓", "green"), False: ("✗", "red"), "neutral": ("·", "dim")}
INDENT = 3  # columns: of all lines of a verdict but its first
READABLE = 110  # columns: on a wider screen nobody finds the next line
PLAIN_MARKS = {"✓": "+", "✗": "x", "·": "-"}  # for an output that cannot show them


def language(chosen: Language | None) -> Lang:
    """ "en" or "ja": as chosen, else by the locale of the environment."""
    from camrelay.trace import words

    places = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return words.language(chosen.value if chosen else None, *places)


def show(
    about: str, stream: Iterable[tuple[str, Any]], chosen: Language | None, as_json: bool, more: str = ""
) -> int:
    """Follow a trace to its end and show everything; returns the exit code (1: a warning or a fault was found).

    ``stream``: of ``asking.answers``; events {"begun": CHECK, "role", "by"} and {"fact": {...}}, the result an object
    with "subject" (names for the texts) and "facts". ``more``: a line to end with.
    """
    from camrelay.cli.show import console, print_json

    lang = language(chosen)
    result, facts = follow(stream, lang, quiet=as_json)
    findings = judge(about, facts, result["subject"])
    if as_json:
        print_json(document(result, facts, findings, lang))
        return exit_code(findings)
    out = console()
    if not out.is_terminal:
        out.print(Board(lang, out).table(facts, result["subject"]))
    print_verdicts(out, findings, lang)
    if more:
        out.print(more)
    return exit_code(findings)


def follow(
    stream: Iterable[tuple[str, Any]], lang: Lang, *, quiet: bool = False, transient: bool = False
) -> tuple[dict[str, Any], list[Fact]]:
    """Read to the result, and take its facts out of it; on a terminal draw the checks as they begin and finish.

    ``quiet``: draw nothing. ``transient``: what was drawn goes away, for something else to be shown instead.
    """
    from contextlib import nullcontext

    from rich.live import Live

    from camrelay.cli.show import console
    from camrelay.errors import ControlError

    out = console()
    board = Board(lang, out)
    drawing = out.is_terminal and not quiet
    with Live(console=out, transient=transient, get_renderable=board.draw) if drawing else nullcontext():
        for what, value in stream:
            if what == "result":
                facts = read(value.pop("facts"))
                board.settle(facts, value.get("subject", {}))
                return value, facts
            board.hear(value)
    raise ControlError("the daemon ended before the trace did")


def read(values: Iterable[Any]) -> list[Fact]:
    """Facts as they come out of JSON."""
    import msgspec

    from camrelay.trace.facts import Fact

    return [msgspec.convert(value, Fact) for value in values]


def judge(about: str, facts: Iterable[Fact], subject: Mapping[str, Any]) -> list[Finding]:
    """What the facts prove; ``subject`` holds the names for the texts."""
    from camrelay.trace.judge import judge as judged

    return judged(about, facts, subject)


def exit_code(findings: Iterable[Finding]) -> int:
    """1: something fails."""
    from camrelay.trace.judge import exit_code as worst

    return worst(findings)


class Board:
    """The checks as rows: running ones with a spinner, done ones with what they mean, grouped by who made them."""

    def __init__(self, lang: Lang, out: Console) -> None:
        self._lang = lang
        self._marks = _marks(out)
        self._rows: dict[tuple[str, str, str], Fact | None] = {}  # (role, by, check): None while it runs
        self._subject: Mapping[str, Any] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """One event of the stream."""
        where = event.get("role", ""), event.get("by", "")
        if "begun" in event:
            self._rows.setdefault((*where, event["begun"]), None)
        elif "dropped" in event:
            self._rows.pop((*where, event["dropped"]), None)
        elif "fact" in event:
            (fact,) = read([event["fact"]])
            self._rows[fact.role, fact.by, fact.check] = fact
        elif "subject" in event:
            self._subject = event["subject"]

    def settle(self, facts: Iterable[Fact], subject: Mapping[str, Any]) -> None:
        """This is all, in this order."""
        self._rows = {(fact.role, fact.by, fact.check): fact for fact in facts}
        self._subject = subject

    def draw(self) -> Table:
        """For a screen that is drawn again and again."""
        return self._draw(self._rows, self._subject)

    def table(self, facts: Iterable[Fact], subject: Mapping[str, Any]) -> Table:
        """All of these facts."""
        return self._draw({(fact.role, fact.by, fact.check): fact for fact in facts}, subject)

    def _draw(self, rows: Mapping[tuple[str, str, str], Fact | None], subject: Mapping[str, Any]) -> Table:
        from rich.text import Text

        from camrelay.cli.show import table

        said = WORDS[self._lang]
        made = table(" ", said["check"], said["result"], said["time"], right=(said["time"],))
        groups: dict[tuple[str, str], list[tuple[str, Fact | None]]] = {}
        for (role, by, check), fact in rows.items():
            groups.setdefault((role, by), []).append((check, fact))
        for (role, by), checks in groups.items():
            if role:
                made.add_row("", "", Text(heading(role, by, subject, self._lang), "bold"), "")
            for check, fact in checks:
                made.add_row(*self._cells(check, fact))
        return made

    def _cells(self, check: str, fact: Fact | None) -> Iterator[Any]:
        from rich.spinner import Spinner
        from rich.text import Text

        from camrelay.cli.show import clean
        from camrelay.trace import words

        title = clean(words.title(check, self._lang))
        if fact is None:
            yield from (Spinner("dots"), Text(title), Text("…", "dim"), "")
            return
        mark, style = self._marks[words.good(fact)]
        yield Text(mark, style)
        yield Text(title)
        yield Text(clean(words.meaning(fact, self._lang)), "" if style != "dim" else "dim")
        yield Text(span(fact.seconds), "dim")


def span(seconds: float) -> str:
    """How long a check took: "12 ms", "3.2 s"; nothing for what was only looked up."""
    if seconds < 0.0005:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def heading(role: str, by: str, subject: Mapping[str, Any], lang: Lang) -> str:
    """What stands above the checks of a role."""
    from camrelay.cli.show import clean

    form = HEADINGS[lang].get(role, "{by}")
    for name, value in {**subject, "by": by}.items():
        form = form.replace(f"{{{name}}}", str(value))
    return clean(form)


def print_verdicts(out: Console, findings: Iterable[Finding], lang: Lang) -> None:
    """Each verdict and what to do about it, numbered; that all is well, if there is none."""
    from rich.cells import cell_len
    from rich.text import Text

    from camrelay.cli.show import clean
    from camrelay.cli.wrapping import wrap
    from camrelay.trace import words

    said = WORDS[lang]
    findings = list(findings)
    out.line()
    if not findings:
        out.print(Text(said["well"], "bold green"))
        return
    width = min(out.width, READABLE) if out.is_terminal else out.width
    out.print(Text(said["verdict"], "bold"))
    for number, finding in enumerate(findings, 1):
        head = Text.assemble(
            f"{number}. ", (words.severity(finding.severity, lang), STYLES[finding.severity]), "  "
        )
        out.print(head + wrap(clean(words.say(finding, lang)), width, cell_len(head.plain), INDENT))
        if do := words.do(finding, lang):
            out.print(Text(" " * INDENT + wrap(f"{said['do']}: {clean(do)}", width, INDENT, INDENT)))


def document(
    result: dict[str, Any], facts: Iterable[Fact], findings: Iterable[Finding], lang: Lang
) -> dict[str, Any]:
    """The JSON of a trace: the result with its facts and what each means, and the verdicts in words."""
    import msgspec

    from camrelay.trace import words

    return {
        **result,
        "facts": [
            {**msgspec.to_builtins(fact), "good": words.good(fact), "meaning": words.meaning(fact, lang)}
            for fact in facts
        ],
        "verdicts": [
            {
                "id": finding.id,
                "severity": finding.severity,
                "say": words.say(finding, lang),
                "do": words.do(finding, lang),
            }
            for finding in findings
        ],
        "lang": lang,
    }


def _marks(out: Console) -> dict[Mark, tuple[str, str]]:
    encoding = out.encoding or sys.getdefaultencoding()
    try:
        "".join(mark for mark, _ in MARKS.values()).encode(encoding)
    except UnicodeEncodeError:
        return {good: (PLAIN_MARKS[mark], style) for good, (mark, style) in MARKS.items()}
    return dict(MARKS)
