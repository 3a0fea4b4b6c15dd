"""The documentation keeps up with the code: keys, counters, pages in both languages, links."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from camrelay.config.keys import LISTS, SECTIONS, keys, values
from camrelay.trace.reading import checks, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LANGUAGES = (DOCS, DOCS / "ja")

# Pages that only people who change camrelay or write scripts read: English alone.
FOR_DEVELOPERS = {"architecture.md", "reference-json.md"}
FOR_USERS = [ROOT / "README.md", *sorted(p for p in DOCS.glob("*.md") if p.name not in FOR_DEVELOPERS)]
# Folders of other programs, which git ignores.
NOT_OURS = {".venv", ".git", "node_modules"}
PAGES = sorted(page for page in ROOT.rglob("*.md") if not NOT_OURS & set(page.relative_to(ROOT).parts))

COUNTING = {"count", "_count", "_fail", "Unsendable"}  # functions whose first argument is a counter's text
COUNTERS = {"counters", "counts", "_counts"}  # mappings whose keys are


# What the code counts


def phrases(source: str) -> set[str]:
    """Every text counted in a module; "front ..." where the rest is made at run time."""
    found: set[str] = set()
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            names = _assigned(scope)
            for node in ast.walk(scope):
                for expression in _counted(node):
                    found |= set(_texts(expression, names))
        elif isinstance(scope, ast.AnnAssign) and _name(scope.target) == "CAUSES":
            found |= {text for value in getattr(scope.value, "values", ()) for text in _texts(value, {})}
    return found


def _counted(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call) and node.args and _name(node.func) in COUNTING:
        yield node.args[0]
    elif isinstance(node, ast.Subscript) and _name(node.value) in COUNTERS:
        yield node.slice


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _assigned(scope: ast.AST) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _texts(node: ast.expr, names: dict[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, names)
        yield from _texts(node.orelse, names)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _texts(value, names)
    elif isinstance(node, ast.JoinedStr):
        yield from _formatted(node.values, names)


def _formatted(parts: list[ast.expr], names: dict[str, ast.expr]) -> Iterator[str]:
    """An f-string, with a local name in it replaced by each text that it can be."""
    first, *rest = parts
    front = str(first.value) if isinstance(first, ast.Constant) else ""
    value = rest[0].value if len(rest) == 1 and isinstance(rest[0], ast.FormattedValue) else None
    known = names.get(value.id) if isinstance(value, ast.Name) else None
    choices = list(_texts(known, {})) if known is not None else []
    yield from (front + choice for choice in choices or ["..."])


def counted() -> set[str]:
    modules = [*ROOT.glob("camrelay/relay/**/*.py"), *ROOT.glob("camrelay/daemon/**/*.py")]
    found = set().union(*(phrases(module.read_text()) for module in modules))
    return {phrase for phrase in found if any(map(str.isalpha, phrase))}  # str.count is called count, too


def test_counted_texts_are_found_in_every_form_the_code_uses() -> None:
    source = """
CAUSES: dict[int, str] = {1: "in a table"}
def one(self, data):
    self._context.count("plain")
    context.count("yes" if data else "no")
    counters["subscript"] += 1
    kind = "this" if data else "that"
    counters[f"dropped: {kind}"] += 1
    self._count(f"receive error: {strerror(data)}")
    raise Unsendable("in an error")
"""
    assert phrases(source) == {
        "in a table", "plain", "yes", "no", "subscript", "dropped: this", "dropped: that",
        "receive error: ...", "in an error",
    }  # fmt: skip


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ja"])
def test_every_counter_is_explained(folder: Path) -> None:
    text = (folder / "operations.md").read_text()
    found = counted()
    assert len(found) > 40, "the code is read the wrong way"
    missing = sorted(phrase for phrase in found if f"`{phrase}`" not in text)
    assert not missing, f"counted, and not in {folder.name}/operations.md"


# Keys of the configuration


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ja"])
@pytest.mark.parametrize("section", SECTIONS | LISTS)
def test_every_key_is_documented_with_its_default(folder: Path, section: str) -> None:
    text = (folder / "configuration.md").read_text()
    heading = re.search(rf"^## .*\b{section}\b", text, re.MULTILINE)
    assert heading, f"no section {section} in {folder.name}/configuration.md"
    table = re.split(r"^## ", text[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))
    struct = (SECTIONS | LISTS)[section]
    known = keys(struct)
    assert list(rows) == list(known), "keys, in the order of the file"
    defaults = values(struct())
    for key, about in known.items():
        default = defaults[key]
        if default not in (None, "", ()):
            assert rows[key].strip() == f"`{about.kind.write(default)}`", key


# Two languages


def headings(page: Path) -> list[int]:
    """The depth of every heading, code blocks left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_every_user_page_has_a_japanese_twin_of_the_same_shape(page: Path) -> None:
    twin = DOCS / "ja" / page.name
    assert twin.exists(), f"{page.name} has no Japanese twin"
    assert headings(twin) == headings(page)


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_tables_of_both_languages_have_as_many_rows(page: Path) -> None:
    """A row added in one language only is the usual way in which twins part."""
    pair = (page, DOCS / "ja" / page.name)
    english, japanese = (re.findall(r"^\|.*", each.read_text(), re.MULTILINE) for each in pair)
    assert len(english) == len(japanese)


# Verdicts of traces


def verdicts_shown(page: Path) -> dict[str, str]:
    """What stands in the column of verdicts: the id, and what is said behind it."""
    rows = (line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| "))
    cells = (re.fullmatch(r"`([a-z0-9-]+)` ?(.*)", row[2]) for row in rows if len(row) == 4)
    return {found[1]: found[2] for found in cells if found}


@pytest.mark.parametrize(("folder", "note"), [(DOCS, "(note)"), (DOCS / "ja", "(参考)")], ids=["en", "ja"])
def test_the_table_of_faults_has_every_verdict_and_no_other(folder: Path, note: str) -> None:
    shown = verdicts_shown(folder / "trace.md")
    assert sorted(shown) == sorted(verdicts())
    wrong = {
        name for name, said in shown.items() if said != (note if verdicts()[name].severity == "note" else "")
    }
    assert not wrong, "called a note, or not, and is none, or one"


def test_the_table_of_faults_is_in_the_same_order_in_both_languages() -> None:
    english, japanese = (list(verdicts_shown(folder / "trace.md")) for folder in LANGUAGES)
    assert english == japanese


def test_checks_of_hosts_and_relays_are_in_the_reference_with_their_outcomes() -> None:
    page = (DOCS / "reference-json.md").read_text()
    section = page.partition("## Facts and verdicts")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.MULTILINE)
    said = {name: text for names, text in rows for name in re.findall(r"`([^`]+)`", names)}
    for way in ("out", "in"):  # written as `tcp-out`, `-in`, or as `tcp`
        said |= {f"{name}-{way}": said[name] for name in ("mtu", "tcp", "path")}
        said |= {f"speak-{whose}-{way}": said["speak-own-out"] for whose in ("own", "foreign")}
    mine = re.compile(r"^\[\"?([\w-]+)\"?\]$", re.MULTILINE)
    files = ("checks.toml", "checks-pair.toml")
    text = "\n".join((ROOT / "camrelay/trace/data" / name).read_text() for name in files)
    names = {
        name
        for found in mine.findall(text)
        for name in checks()
        if name in (found, f"{found}out", f"{found}in")
    }
    assert len(names) > 40
    for name in sorted(names):
        missing = {o for o in checks()[name].outcomes if f"`{o}`" not in said[name]} - {"not-checked"}
        assert not missing, name


# Links


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name in a page, as GitHub makes it of a heading."""
    texts = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_relative_link_is_dead(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_of_a_table_has_all_its_cells(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(rows)) == 1, table
