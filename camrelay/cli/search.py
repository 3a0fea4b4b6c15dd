"""``camrelay search``: who is in these segments? And the hosts that searches added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, LangOption, subcommand
from camrelay.cli.trace_view import language

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from camrelay.trace.words import Language

app = subcommand()

HEADS = {
    "en": ("address", "nick", "group", "logon", "host", "kind", "version", "ms", "known"),
    "ja": ("アドレス", "ニックネーム", "グループ", "ログオン名", "ホスト名", "種類", "バージョン", "ms", "既知"),
}  # fmt: skip
KEPT = {"en": ("address", "nick", "kind", "found"), "ja": ("アドレス", "ニックネーム", "種類", "検出日時")}
WORDS = {
    "en": {
        "busy": "searching",
        "answered": "{answered} answered",
        "done": "{asked} addresses asked{by} in {seconds:.1f} s, {answered} answered",
        "by": " by {by}",
        "added": "hosts added: {added}; camrelay search --list shows all of them",
        "yes": "yes",
        "no": "no",
        "warning": "warning: {text}",
        "none": "no hosts were added: camrelay search SEGMENT --add",
        "forgotten": "forgotten: {gone}",
        "not there": "none of these was there",
    },
    "ja": {
        "busy": "検索中",
        "answered": "応答 {answered}",
        "done": "{asked} 個のアドレスに{by}問い合わせ({seconds:.1f} 秒)、応答 {answered} 件",
        "by": " {by} から",
        "added": "追加したホスト: {added}(一覧は camrelay search --list)",
        "yes": "はい",
        "no": "いいえ",
        "warning": "警告: {text}",
        "none": "追加されたホストはありません: camrelay search セグメント --add",
        "forgotten": "削除しました: {gone}",
        "not there": "該当するホストはありません",
    },
}

SegmentArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SEGMENT", help='Such as "192.168.3.*" or 10.1.5.20; at most 1,024 addresses together.'
    ),
]
AddOption = Annotated[
    bool,
    typer.Option("--add", help="Serve those who answer from now on, as if they stood in [remote] segments."),
]
PeerOption = Annotated[
    str, typer.Option("--from", metavar="PEER", help="Let this relay of the fleet search on its own side.")
]
ListOption = Annotated[bool, typer.Option("--list", help="List the hosts that searches added.")]
ForgetOption = Annotated[
    list[str] | None,
    typer.Option("--forget", metavar="ADDRESS", help="Take a host out of these; repeatable; all: every one."),
]


@app.command()
def search(
    segments: SegmentArgument = None,
    add: AddOption = False,
    peer: PeerOption = "",
    kept: ListOption = False,
    forget: ForgetOption = None,
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask every address of some segments who is there, and show who answers.

    The segments need not stand in the configuration. The pace is that of the sweep (sweep_rate, 150 addresses per
    second by default), and both together stay within it. Nobody is announced anywhere by being found; with --add
    the hosts are kept in discovered.toml in the state directory, and announced to at start and periodically.
    Only root and the daemon's own user may do this.

    \b
    Examples:
      sudo camrelay search '192.168.3.*'
      sudo camrelay search '192.168.3.*' 10.1.5.20 --add
      sudo camrelay search '192.168.7.*' --from osaka
      camrelay search --list
      sudo camrelay search --forget 192.168.3.7

    \b
    Exit codes:
      0  somebody answered (--list: there are hosts; --forget: it was there)
      1  nobody did, or not allowed
      2  wrong usage
      3  the daemon is not running
    """
    from camrelay.errors import UsageError

    if sum((bool(segments), kept, bool(forget))) != 1:
        raise UsageError(
            "expected either segments, or --list, or --forget ADDRESS (see camrelay search --help)"
        )
    spoken = language(lang)
    if kept:
        return _list(config, as_json, spoken)
    if forget:
        return _forget(config, forget, as_json, spoken)
    return _search(config, {"segments": segments, "add": add, "peer": peer}, as_json, spoken)


def _search(config: Path | None, wanted: dict[str, Any], as_json: bool, lang: Language) -> int:
    from camrelay.cli.asking import answers
    from camrelay.cli.show import clean, console, print_json

    said = WORDS[lang]
    found = _follow(answers(config, {"do": "search", "more": wanted}), lang)
    hits = found["found"]
    if as_json:
        print_json(found)
        return 0 if hits else 1
    out = console()
    if hits:
        out.print(_table(out, hits, lang))
        out.line()
    by = said["by"].format(by=clean(found["by"])) if found["by"] else ""
    out.print(said["done"].format(asked=found["asked"], by=by, seconds=found["seconds"], answered=len(hits)))
    if wanted["add"]:
        out.print(said["added"].format(added=found["added"]))
    return 0 if hits else 1


def _table(out: Console, hits: list[dict[str, Any]], lang: Language) -> Table:
    from camrelay.cli.show import clean, listing

    def cells(hit: dict[str, Any]) -> list[str]:
        names = (clean(hit[name]) for name in ("nick", "group", "logon", "host", "kind", "version"))
        return [hit["address"], *names, f"{hit['ms']:.0f}", WORDS[lang]["yes" if hit["known"] else "no"]]

    heads = HEADS[lang]
    whole = (heads[0], heads[5], heads[8])  # address, kind, known
    pairs = ((0, 5), (1, 2), (3, 4), (6,), (7, 8))
    return listing(out, heads, map(cells, hits), pairs, right=("ms",), whole=whole)


def _follow(stream: Iterator[tuple[str, Any]], lang: Language) -> dict[str, Any]:
    """Read to the result; on a terminal draw the progress on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from camrelay.cli.show import console
    from camrelay.errors import ControlError

    out = console(stderr=True)
    said = WORDS[lang]
    columns = (
        TextColumn(said["busy"]), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[answered]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=None, answered="")
        for what, value in stream:
            if what == "result":
                return dict(value)
            if "total" in value:
                answered = said["answered"].format(answered=value["answered"])
                progress.update(task, total=value["total"], completed=value["asked"], answered=answered)
    raise ControlError("the daemon ended before the search did")


def _list(config: Path | None, as_json: bool, lang: Language) -> int:
    from camrelay.cli.asking import result
    from camrelay.cli.show import clean, console, print_json, table

    kept = result(config, {"do": "discovered"})
    if as_json:
        print_json(kept)
        return 0 if kept["hosts"] else 1
    if kept["problem"]:
        print(WORDS[lang]["warning"].format(text=clean(kept["problem"])))
    if not kept["hosts"]:
        print(WORDS[lang]["none"])
        return 1
    made = table(*KEPT[lang], whole=(KEPT[lang][0], *KEPT[lang][2:]))  # but the nick
    for host in kept["hosts"]:
        made.add_row(*(clean(host[name]) for name in KEPT["en"]))
    console().print(made)
    return 0


def _forget(config: Path | None, addresses: list[str], as_json: bool, lang: Language) -> int:
    from camrelay.cli.asking import result
    from camrelay.cli.show import print_json

    gone = result(config, {"do": "forget", "more": {"addresses": addresses}})
    if as_json:
        print_json(gone)
    else:
        names = ", ".join(gone["forgotten"]) or WORDS[lang]["not there"]
        print(WORDS[lang]["forgotten"].format(gone=names))
    return 0 if gone["forgotten"] else 1
