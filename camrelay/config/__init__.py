"""The configuration: ``load()`` turns TOML into a ``Config``, checked value by value.

A file with mistakes gives ONE error that lists all of them, each with file, line, key and remedy.
What keys there are, with defaults and reasons, is in ``keys``; what may be written for each in ``kinds``.
"""

from __future__ import annotations

import os
import re
import tomllib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from camrelay.config import kinds
from camrelay.config.keys import DEFAULT_PATH, LISTS, SECTIONS, Config, keys, values
from camrelay.config.writing import as_toml, sample
from camrelay.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DEFAULT_PATH", "ENVIRONMENT", "BadConfig", "Config", "as_toml", "load", "parse", "sample"]

ENVIRONMENT = "CAMRELAY_CONFIG"
MOST_BYTES = 256 << 10  # a hand-written file; more is a wrong path
MOST_PROBLEMS = 20  # shown at once: what a terminal shows without scrolling


class BadConfig(ConfigError):
    """A file with mistakes: ``problems`` holds one line for each, and the message is all of them."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        shown = problems[:MOST_PROBLEMS]
        if len(problems) > MOST_PROBLEMS:
            shown.append(f"... and {len(problems) - MOST_PROBLEMS} more problems")
        super().__init__("\n".join(shown))

    @property
    def summary(self) -> str:
        """All of it in one line: the first problem and how many more there are."""
        more = len(self.problems) - 1
        return self.problems[0] + (f" (and {more} more: camrelay config check)" if more else "")


def load(path: Path | str | None = None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the file named, else the one CAMRELAY_CONFIG names, else the default one, which may be missing."""
    named = path or environment.get(ENVIRONMENT)
    where = Path(named or DEFAULT_PATH)
    try:
        with where.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if named:
            raise BadConfig(
                [f"{where}: no such file: write one with `camrelay config init {where}`"]
            ) from None
        return Config(
            notes=(f"no configuration at {where}: all defaults apply (camrelay config init writes one)",)
        )
    except OSError as error:
        raise BadConfig([f"{where}: cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    if len(raw) > MOST_BYTES:
        raise BadConfig([f"{where}: larger than {MOST_BYTES >> 10} KiB: surely not a camrelay configuration"])
    return parse(raw, str(where))


def parse(raw: bytes, path: str) -> Config:
    """The bytes of a configuration file to a ``Config``; raises BadConfig with every mistake in it."""
    try:
        text = raw.decode("utf-8-sig")  # a Windows editor puts a mark in front
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadConfig([f"{path}:{line}: not UTF-8 text: save the file in UTF-8"]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig([_syntax(str(error), path, text)]) from None
    reader = _Reader(path, text)
    sections: dict[str, Any] = {
        name: reader.section(name, section, document.pop(name, {})) for name, section in SECTIONS.items()
    }
    for name, section in LISTS.items():
        sections[name] = reader.sections(name, section, document.pop(name, []))
    for name, value in document.items():
        what = "section" if isinstance(value, dict) or _is_tables(value) else "key outside a section"
        reader.unknown(name, what, SECTIONS | LISTS)
    if reader.problems:
        raise BadConfig([text for _, text in sorted(reader.problems, key=lambda problem: problem[0])])
    config = msgspec.convert(sections, Config)
    if config.users.silent_after >= config.users.forget_after:
        silent = kinds.duration_text(config.users.silent_after)
        line = reader.line("forget_after", "users")
        raise BadConfig(
            [f"{path}:{line}: users.forget_after: expected more than silent_after, which is {silent}"]
        )
    return msgspec.structs.replace(config, path=path, notes=tuple(_notes(config)))


def _syntax(message: str, path: str, text: str) -> str:
    """tomllib says where at the end of its message: "... (at line 3, column 5)"."""
    found = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = int(found[1]) if found and found[1] else max(1, len(text.splitlines()))
    what = message[: found.start()] if found else message
    if what.startswith(("Cannot overwrite", "Cannot declare")):
        what = "a key or section stands there for the second time"
    return f"{path}:{line}: not TOML: {what[:1].lower()}{what[1:]}: `camrelay config init` shows how it looks"


def _notes(config: Config) -> Iterator[str]:
    """What is allowed and yet worth a line."""
    addresses = sum(254 if text.endswith("*") else 1 for text in config.remote.segments)
    seconds = addresses / config.remote.sweep_rate
    if seconds > config.remote.sweep_unknown_every:
        yield (
            f"{addresses} addresses take {kinds.duration_text(float(int(seconds)))} at sweep_rate"
            f" {config.remote.sweep_rate}: longer than sweep_unknown_every, so passes follow without pause"
        )
    final = next((n for n, rule in enumerate(config.share, 1) if "*" in rule.from_ and "*" in rule.to), 0)
    if 0 < final < len(config.share):
        yield f"share[{final + 1}] is never asked: share[{final}] decides about everybody everywhere"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _index(lines: list[str]) -> dict[str, int]:
    """ "section" and "section.key" to the number of the line they first stand on. A scan, not a parser.

    The sections of a list are "name[1]", "name[2]" and so on, the list itself is "name".
    """
    index: dict[str, int] = {}
    section = ""
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*(\[+)\s*([^\]\s]+)\s*\]", line)
        key = re.match(r"\s*([\w.\-\"' ]+?)\s*=", line)
        if header:
            name = section = header[2].strip("\"'")
            index.setdefault(name, number)
            if header[1] == "[[":
                section = next(f"{name}[{n}]" for n in count(1) if f"{name}[{n}]" not in index)
                index[section] = number
        elif key:
            name = re.sub(r"[\"' ]", "", key[1])
            full = f"{section}.{name}" if section else name
            index.setdefault(full, number)
            index.setdefault(full.partition(".")[0], number)
    return index


class _Reader:
    """Reads sections value by value and gathers (line, text) of every problem."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.index = _index(self.lines)
        self.problems: list[tuple[int, str]] = []

    def say(self, line: int, what: str) -> None:
        self.problems.append((line, f"{self.path}:{line}: {what}"))

    def section(self, name: str, section: type[msgspec.Struct], table: Any) -> dict[str, Any]:
        if not isinstance(table, dict):
            self.say(self.line(name), f"{name}: expected a section: write [{name}] on a line of its own")
            return {}
        known, defaults, read = keys(section), values(section()), {}
        for key, about in known.items():
            if about.required and key not in table:
                remedy = f"write {key} = {about.sample(defaults[key])}"
                self.say(self.line(name), f"{name}.{key}: missing: {remedy}")
        for key, value in table.items():
            if key not in known:
                self.unknown(key, "key", known, name)
                continue
            about = known[key]
            try:
                read[key] = about.kind.read(value)
            except kinds.Refused as refused:
                example = f"{key} = {about.sample(defaults[key])}"
                for each in refused.each:
                    text = each.text(about.kind, example)
                    self.say(self.line(key, name, each.part), f"{name}.{key}: {text}")
        return read

    def sections(self, name: str, section: type[msgspec.Struct], tables: Any) -> list[dict[str, Any]]:
        """Those of ``[[name]]``, in their order: what is wrong in the second one is said of "name[2]"."""
        if not isinstance(tables, list) or (tables and not _is_tables(tables)):
            self.say(
                self.line(name), f"{name}: expected a list of sections: write [[{name}]] above each of them"
            )
            return []
        if len(tables) > kinds.MOST_ENTRIES:
            what = f"expected at most {kinds.MOST_ENTRIES}, found {len(tables)}"
            self.say(self.line(name), f"{name}: {what}: name more in one")
            return []
        return [self.section(f"{name}[{n}]", section, table) for n, table in enumerate(tables, 1)]

    def unknown(self, key: str, what: str, known: Mapping[str, Any], section: str = "") -> None:
        import difflib  # only somebody who made a mistake waits for it

        full = f"{section}.{key}" if section else key
        near = difflib.get_close_matches(key, known, 1)
        if not near and not section:  # a key that stands before its section's header
            near = [f"[{name}] {key}" for name, struct in SECTIONS.items() if key in keys(struct)]
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        self.say(self.line(key, section), f"{full}: unknown {what}: {hint}")

    def line(self, key: str, section: str = "", part: str = "") -> int:
        """The line where a key (or one text of its list) stands; its section's line or 1 if in doubt."""
        number = self.index.get(f"{section}.{key}" if section else key, 0)
        if number:
            return self._part(number, part)
        return self.index.get(section) or self.index.get((section or key).partition("[")[0], 1)

    def _part(self, number: int, part: str) -> int:
        """The line of one quoted text at or after line ``number``; that line itself if it is not found."""
        for later, line in enumerate(self.lines[number - 1 :], number):
            if part and (f'"{part}"' in line or f"'{part}'" in line):
                return later
            if part and line.split("#")[0].rstrip().endswith("]"):
                break
        return number
