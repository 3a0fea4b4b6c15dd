"""What a bug report is made of: each part is a file, or the reason why it is missing."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.cli.report_names import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from camrelay.cli.report_names import Anonymous
    from camrelay.config import Config
    from camrelay.daemon.doctor.box import Box

MOST_BYTES: Final = 16 << 20  # of one part: 20,000 users are 9 MB before they are packed
LOG_LINES: Final = 3000
CONFIG_BYTES: Final = 256 << 10
ASKED: Final = {
    "status.json": "status",
    "users.json": "users",
    "samples.json": "samples",
    "discovered.json": "discovered",
}


class Part(NamedTuple):
    """One file. ``missing``: why there is none; ``removed``: secrets taken out; ``cut``: only so much of it."""

    name: str
    content: bytes = b""
    missing: str = ""
    removed: int = 0
    cut: bool = False


class Source(NamedTuple):
    """Where the parts come from."""

    config: Config
    path: Path  # of the configuration file
    ask: Callable[[str], Any]  # the daemon; raises ControlError
    box: Box
    doctor: Callable[[], Any]
    names: Anonymous | None


def parts(source: Source) -> Iterator[Part]:
    """All of them, in the order of the archive. Raises nothing for what is not there."""
    answers = {name: _asked(source, what) for name, what in ASKED.items()}
    if source.names is not None:
        source.names.learn(_names(answers, source))
    yield _configuration(source)
    for name, (value, missing) in answers.items():
        yield Part(name, missing=missing) if missing else _json(source, name, value)
    status, missing = answers["status.json"]
    yield (
        Part("counters.json", missing=missing)
        if missing
        else _json(source, "counters.json", status["counters"] | status["relay"]["counters"])
    )
    yield _json(source, "doctor.json", source.doctor())
    yield _json(source, "versions.json", versions(source.box))
    yield _log(source)


def _asked(source: Source, what: str) -> tuple[Any, str]:
    from camrelay.errors import CamrelayError

    try:
        return source.ask(what), ""
    except CamrelayError as error:
        return None, str(error)


def _names(answers: dict[str, tuple[Any, str]], source: Source) -> Iterator[Any]:
    """Every name that the daemon and the configuration know."""
    rows, _ = answers["users.json"]
    for row in rows or ():
        yield from (row[key] for key in ("logon", "host", "nick", "group"))
    status, _ = answers["status.json"]
    if status:
        fleet = status["fleet"]
        yield from (status["relay"]["name"], fleet["name"], *(peer["name"] for peer in fleet["peers"]))
        for peer in fleet["peers"]:
            yield from (_machine(told) for told in (peer.get("address", ""), *peer.get("addresses", ())))
    yield from (source.config.relay.name, source.config.peers.address, _machine(source.config.peers.address))
    yield from (source.box.hostname, source.box.hostname.partition(".")[0])  # the journal has the short one
    for share in source.config.share:
        for pattern in (*share.from_, *share.to):
            yield pattern.partition(":")[2]


def _machine(address: str) -> str:
    """The host name of "host:port"; "" for an IPv4 address, which is replaced as such."""
    host = address.rpartition(":")[0] or address
    return "" if host.replace(".", "").isdigit() else host


def _configuration(source: Source) -> Part:
    name = "camrelay.toml"
    try:
        with source.path.open("rb") as file:
            text = file.read(CONFIG_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return Part(name, missing=f"{source.path}: {(error.strerror or str(error)).lower()}")
    text, removed = without_secrets(text)
    return _part(name, source.names.text(text) if source.names else text)._replace(removed=removed)


def _log(source: Source) -> Part:
    name = "log.txt"
    words = ("journalctl", "--unit=camrelay", f"--lines={LOG_LINES}", "--no-pager", "--output=short-iso")
    ran = source.box.run(words)
    lines = [line for line in ran.out.splitlines() if not line.startswith("-- ")]
    if ran.code or not lines:
        return Part(
            name, missing=ran.err.splitlines()[0] if ran.err else "the journal has no line of camrelay"
        )
    text, removed = without_secrets("\n".join(lines) + "\n")
    return _part(name, source.names.text(text) if source.names else text)._replace(removed=removed)


def _json(source: Source, name: str, value: Any) -> Part:
    if source.names is not None:
        value = source.names.values(value)
    return _part(name, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _part(name: str, text: str) -> Part:
    content = text.encode("utf-8", "replace")
    if len(content) <= MOST_BYTES:
        return Part(name, content)
    kept = content[-MOST_BYTES:] if name == "log.txt" else content[:MOST_BYTES]
    return Part(name, kept, cut=True)


def versions(box: Box) -> dict[str, Any]:
    """Of everything that camrelay stands on."""
    from camrelay import __version__

    packages = {}
    try:
        required = metadata.requires("camrelay") or []
    except metadata.PackageNotFoundError:  # run from a checkout
        required = []
    for text in required:
        name = text.split(";")[0].split(">")[0].split("=")[0].split("<")[0].strip()
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "missing"
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = ""
    return {
        "camrelay": __version__,
        "python": sys.version.split()[0],
        "packages": packages,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "distribution": system,
        "nft": box.run(("nft", "--version")).out.strip(),
        "systemd": (box.run(("systemctl", "--version")).out.splitlines() or [""])[0],
    }
