"""``camrelay doctor``: is this box fit to relay, and does what it says in the name of others arrive?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camrelay.cli.options import ConfigOption, JsonOption, subcommand
from camrelay.cli.trace_view import Board, LangOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.table import Table

    from camrelay.config import Config
    from camrelay.daemon.doctor.box import Box
    from camrelay.trace.facts import Fact, Finding

app = subcommand()


@app.command()
def doctor(
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check this box, and whether what the relay says in the name of others arrives.

    The box: daemon, configuration, UDP port 2425, interfaces and why each is used or not, this box's own firewall
    (as root), reverse path filter, neighbour table, clock, disk, privilege, buffers, whether anything is heard,
    database, links to other relays. Then, in each of its own segments: datagrams under an address that nobody has,
    read back by another relay, by camrelay listen on any PC there, or by a Windows client, which for a second
    lists a user "camrelay test". Works without the daemon as far as that goes.

    \b
    Examples:
      sudo camrelay doctor
      camrelay doctor --lang ja
      camrelay doctor --json | jq '.verdicts[].id'

    \b
    Exit codes:
      0  nothing wrong, or notes only
      1  a warning or a fault (also: the daemon does not run); each with what to do
      2  wrong usage
    """
    import time

    from camrelay.cli import trace_view
    from camrelay.cli.show import console, print_json

    language = trace_view.language(lang)
    began = time.monotonic()
    out = console()
    with console(stderr=True).status(WORDS[language]["busy"]) if out.is_terminal else _quiet():
        facts = list(examine(config))
    findings = judge(facts)
    if as_json:
        seconds = round(time.monotonic() - began, 3)
        print_json(trace_view.document({"seconds": seconds}, facts, findings, language))
    else:
        out.print(Chart(language, out).all_of(facts))
        trace_view.print_verdicts(out, findings, language)
    return trace_view.exit_code(findings)


WORDS = {"en": {"busy": "examining, some seconds ..."}, "ja": {"busy": "検査しています(数秒)…"}}


def _quiet() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def examine(path: Path | None, box: Box | None = None, speak: bool = True) -> Iterator[Fact]:
    """All facts; none of it raises for what is wrong with this box. ``speak``: also say something on the wires."""
    from camrelay.daemon.doctor.look import look
    from camrelay.trace.facts import Fact

    loaded, mistakes = configuration(path)
    status, absent = _status(loaded)
    for fact in look(loaded, status, absent, box):
        yield mistakes if mistakes and fact.check == "config" and fact.outcome != "refused" else fact
    if status is not None and speak:
        from camrelay.cli.trace_view import read
        from camrelay.daemon import client
        from camrelay.errors import ControlError

        try:
            yield from read(client.result(loaded.relay.control, {"do": "speak"})["facts"])
        except ControlError as error:
            yield Fact("speaking", "not-checked", detail={"why": str(error)})


def configuration(path: Path | None) -> tuple[Config, Fact | None]:
    """The configuration, and if it has mistakes, the defaults with the fact about them."""
    from camrelay.config import BadConfig, Config, load
    from camrelay.trace.facts import Fact

    try:
        return load(path), None
    except BadConfig as error:
        detail: dict[str, Any] = {"first": error.problems[0], "problems": list(error.problems)}
        if len(error.problems) > 1:
            detail["more"] = len(error.problems) - 1
        return Config(), Fact("config", "mistakes", detail=detail)


def _status(config: Config) -> tuple[dict[str, Any] | None, Fact | None]:
    """What the daemon says, or why it says nothing."""
    from camrelay.daemon import client
    from camrelay.errors import ControlError, NotRunning
    from camrelay.trace.facts import Fact

    try:
        return dict(client.result(config.relay.control, {"do": "status"})), None
    except NotRunning:
        return None, Fact("daemon", "not-running")
    except ControlError as error:
        text = str(error)
        if text.startswith("not allowed"):
            return None, Fact("daemon", "not-allowed")
        return None, Fact("daemon", "mute", detail={"why": text})


def judge(facts: Iterable[Fact]) -> list[Finding]:
    """What the facts prove, worst first. Those made for every segment and relay are judged one by one."""
    from camrelay.daemon.doctor.look import EACH
    from camrelay.trace.judge import WORST_FIRST
    from camrelay.trace.judge import judge as judged

    known = list(facts)
    found = judged("doctor", [fact for fact in known if fact.check not in EACH])
    for fact in known:
        if fact.check in EACH:
            found += judged("doctor", [fact])
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.severity))


class Chart(Board):
    """The checks of the box: several facts of one check stand together under its title."""

    def all_of(self, facts: Iterable[Fact]) -> Table:
        """A row for each."""
        from camrelay.cli.show import table
        from camrelay.cli.trace_view import WORDS as HEADS

        said = HEADS[self._lang]
        made = table(" ", said["check"], said["result"], said["time"], right=(said["time"],))
        before = ""
        for fact in facts:
            mark, title, *rest = self._cells(fact.check, fact)
            made.add_row(mark, "" if fact.check == before else title, *rest)
            before = fact.check
        return made
