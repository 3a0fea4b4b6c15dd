"""The table of keys as TOML: a file to start from, and what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camrelay.config.keys import DEFAULT_PATH, LISTS, SECTIONS, keys, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from camrelay.config.keys import Config


def sample() -> str:
    """``etc/camrelay.toml``: every key commented out, with its default (or an example) and its reason."""
    parts = [
        "# camrelay: the configuration, read from " + DEFAULT_PATH + ".\n"
        "# Every key is optional and stands here with its default, or with an example where the default is\n"
        "# nothing. Times are a number and s, m, h or d. Check with `camrelay config check`; take a change\n"
        "# over with `systemctl reload camrelay`: a mistake in it never replaces a running configuration.\n"
    ]
    for name, section in SECTIONS.items():
        doc = " ".join((section.__doc__ or "").split())
        parts += [f"\n# {doc}\n[{name}]\n", *_sample_keys(section())]
    for name, section in LISTS.items():
        lines = "".join(f"# {line.strip()}\n" for line in (section.__doc__ or "").splitlines())
        parts += [f"\n{lines}# [[{name}]]\n", *_sample_keys(section())]
    return "".join(parts)


def _sample_keys(defaults: msgspec.Struct) -> Iterator[str]:
    found = values(defaults)
    for key, about in keys(type(defaults)).items():
        comment = "".join(f"# {line}\n" for line in about.reason.splitlines())
        yield f"\n{comment}# {key} = {about.sample(found[key])}\n"


def as_toml(config: Config) -> str:
    """What is in force, as TOML: every key, defaults included (interfaces only if chosen)."""
    import tomli_w  # here: only `config show` needs it

    document: dict[str, Any] = {name: _plain(getattr(config, name)) for name in SECTIONS}
    document |= {name: [_plain(one) for one in getattr(config, name)] for name in LISTS}
    return tomli_w.dumps({name: content for name, content in document.items() if content})


def _plain(section: msgspec.Struct) -> dict[str, Any]:
    found = values(section)
    about = keys(type(section))
    return {key: about[key].kind.plain(value) for key, value in found.items() if value not in (None, "")}
