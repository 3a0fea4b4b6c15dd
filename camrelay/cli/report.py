"""``camrelay report``: all that a bug report needs in one file, and a list of what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camrelay.cli.options import ConfigOption, JsonOption, subcommand
from camrelay.cli.trace_view import LangOption  # noqa: TC001 - typer reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.cli.report_parts import Part

app = subcommand()

ABOUT = {
    "en": {
        "camrelay.toml": "the configuration file as it is, without passwords, credentials in URLs and invitations",
        "status.json": "what camrelay status --json shows",
        "users.json": "the roster: names, groups and addresses of users",
        "samples.json": "how the first packets of unknown kinds of client are made: no names, no texts",
        "discovered.json": "the hosts that camrelay search --add keeps",
        "counters.json": "what was counted since the start",
        "doctor.json": "what camrelay doctor --json shows",
        "versions.json": "versions of camrelay, Python, packages, kernel and distribution",
        "log.txt": "the end of the log (journalctl): names of users, no messages",
        "README.txt": "this list",
    },
    "ja": {
        "camrelay.toml": "設定ファイル(パスワード、URL の認証情報、招待トークンを除く)",
        "status.json": "camrelay status --json の内容",
        "users.json": "名簿: ユーザーの名前、グループ、アドレス",
        "samples.json": "種類不明のクライアントの最初のパケットの構造(名前や本文は含みません)",
        "discovered.json": "camrelay search --add で追加したホスト",
        "counters.json": "起動以来のカウンター",
        "doctor.json": "camrelay doctor --json の内容",
        "versions.json": "camrelay、Python、パッケージ、カーネル、ディストリビューションのバージョン",
        "log.txt": "ログの末尾(journalctl): ユーザー名を含み、メッセージは含みません",
        "README.txt": "この一覧",
    },
}
WORDS = {
    "en": {
        "head": "A bug report of camrelay. What is in it:",
        "missing": "missing",
        "removed": "secrets removed",
        "cut": "cut off: too long",
        "plain": "Names and addresses are as they are. `camrelay report --anonymous` replaces them.",
        "anonymous": "Names and networks are replaced, each always by the same word; what they were is kept nowhere."
        " The last number of each address is left. Look through it before you give it away all the same.",
        "written": "written ({kib} KiB)",
    },
    "ja": {
        "head": "camrelay の不具合報告用ファイルです。内容:",
        "missing": "なし",
        "removed": "件の秘密情報を削除",
        "cut": "長すぎるため一部のみ",
        "plain": "名前とアドレスはそのままです。置き換えるには camrelay report --anonymous を使ってください。",
        "anonymous": "名前とネットワークは、それぞれ常に同じ語に置き換えてあり、元の値はどこにも保存されません。"
        "アドレスの最後の数字は残ります。渡す前に内容を確認してください。",
        "written": "作成しました({kib} KiB)",
    },
}


@app.command()
def report(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; must not exist yet."),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Replace names and addresses, the same ones always alike.")
    ] = False,
    config: ConfigOption = None,
    lang: LangOption = None,
    as_json: JsonOption = False,
) -> int:
    """Pack all that a bug report needs into one tar.gz, and say what is in it.

    Configuration (secrets removed), status, roster, counters, what doctor finds, versions, the end of the log, and
    how the first packets of unknown kinds of client are made. Best as root: else the log, the firewall or the
    daemon may not be readable. Works with the daemon dead, and says what is missing then. Only you may read the file.

    \b
    Examples:
      sudo camrelay report
      sudo camrelay report --anonymous --output /tmp/camrelay.tar.gz
      camrelay report --json | jq -r .file

    \b
    Exit codes:
      0  written (parts may be missing; it says which and why)
      1  it cannot be written
      2  wrong usage
    """
    import time

    from camrelay.cli import trace_view
    from camrelay.cli.report_parts import Part, parts
    from camrelay.cli.show import print_json

    language = trace_view.language(lang)
    now = time.time()
    path = output or Path(time.strftime("camrelay-report-%Y%m%d-%H%M%S.tar.gz", time.localtime(now)))
    found = list(parts(_source(config, anonymous)))
    readme = "\n".join(listing([*found, Part("README.txt", b" ")], language, anonymous)) + "\n"
    everything = [Part("README.txt", readme.encode()), *found]
    size = write(path, everything, now)
    if as_json:
        print_json(
            {"file": str(path), "bytes": size, "anonymous": anonymous, "contents": _contents(everything)}
        )
    else:
        print("\n".join(listing(found, language, anonymous)))
        print(f"\n{path}: {WORDS[language]['written'].format(kib=(size + 1023) // 1024)}")
    return 0


def _source(config: Path | None, anonymous: bool) -> Any:
    import os
    import secrets

    from camrelay.cli import doctor
    from camrelay.cli.report_names import Anonymous
    from camrelay.cli.report_parts import Source
    from camrelay.cli.trace_view import document
    from camrelay.config import DEFAULT_PATH, ENVIRONMENT
    from camrelay.daemon import client
    from camrelay.daemon.doctor.box import Box

    loaded, _ = doctor.configuration(config)
    where = Path(config or os.environ.get(ENVIRONMENT) or DEFAULT_PATH)

    def examined() -> Any:
        facts = list(doctor.examine(config))
        return document({}, facts, doctor.judge(facts), "en")

    def ask(what: str) -> Any:
        return client.result(loaded.relay.control, {"do": what})

    names = Anonymous(secrets.token_bytes(16)) if anonymous else None
    return Source(loaded, where, ask, Box(), examined, names)


def listing(found: Sequence[Part], language: str, anonymous: bool) -> list[str]:
    """What is in it, as lines."""
    from camrelay.cli.show import clean

    said = WORDS[language]
    lines = [said["head"], ""]
    for part in found:
        notes = (
            [f"{said['missing']}: {clean(part.missing)}"] if part.missing else [ABOUT[language][part.name]]
        )
        notes += [f"{part.removed} {said['removed']}"] if part.removed else []
        notes += [said["cut"]] if part.cut else []
        lines.append(f"  {part.name:<16} {'; '.join(notes)}")
    return [*lines, "", said["anonymous" if anonymous else "plain"]]


def _contents(found: Sequence[Part]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "bytes": len(one.content),
            "missing": one.missing,
            "removed": one.removed,
            "cut": one.cut,
        }
        for one in found
    ]


def write(path: Path, found: Sequence[Part], now: float) -> int:
    """The archive; its size. CamrelayError if it cannot be written, or is there already."""
    import io
    import os
    import tarfile

    from camrelay.errors import CamrelayError

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in found:
            if not part.missing:
                entry = tarfile.TarInfo(f"camrelay-report/{part.name}")
                entry.size, entry.mode, entry.mtime = len(part.content), 0o600, int(now)
                archive.addfile(entry, io.BytesIO(part.content))
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(packed.getbuffer())
    except FileExistsError:
        raise CamrelayError(f"{path} is there already: name another file with --output") from None
    except OSError as error:
        raise CamrelayError(
            f"{path}: {(error.strerror or str(error)).lower()}: name another with --output"
        ) from None
    return packed.getbuffer().nbytes
