"""What these tests need from the machine, each with the Debian package that has it."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests import netns

from . import badline

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = {"glib-2.0": "libglib2.0-dev", "jsoncpp": "libjsoncpp-dev", "sigc++-2.0": "libsigc++-2.0-dev"}


def _programs(**packages: str) -> list[str]:
    return [package.replace("_", "-") for program, package in packages.items() if not shutil.which(program)]


def _network() -> str | None:
    if (reason := netns.missing()) is not None:
        return reason
    name = f"cri-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"cannot make network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


def _probing() -> str | None:
    lacking = _programs(nft="nftables", ping="iputils_ping", setpriv="util_linux")
    return _network() or (_install(lacking) if lacking else None)


def _engine() -> str | None:
    lacking = _programs(**{"g++": "g++", "pkg-config": "pkg_config"})
    if not Path("/usr/include/iptux-core/CoreThread.h").exists():
        lacking.append("iptux")
    if shutil.which("pkg-config"):
        for library, package in LIBRARIES.items():
            if subprocess.run(["pkg-config", "--exists", library], check=False).returncode:
                lacking.append(package)
    return _install(lacking) if lacking else None


def _ipymessenger() -> str | None:
    found = importlib.util.find_spec("ipymessenger")
    return None if found else "needs ipymessenger: pip install ipymessenger==0.1.0"


def _window() -> str | None:
    lacking = _programs(**{"iptux": "iptux", "Xvfb": "xvfb", "dbus-run-session": "dbus_daemon"})
    if not Path("/usr/libexec/at-spi-bus-launcher").exists():
        lacking.append("at-spi2-core")
    probe = 'import gi; gi.require_version("Atspi", "2.0")'
    if not Path("/usr/bin/python3").exists():
        lacking.append("python3")
    elif subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False).returncode:
        lacking += ["python3-gi", "gir1.2-atspi-2.0"]
    return _install(lacking) if lacking else None


def _install(packages: list[str]) -> str:
    return "needs apt-get install " + " ".join(dict.fromkeys(packages))


CHECKS: dict[str, Callable[[], str | None]] = {
    "network": _network,
    "bad_lines": lambda: _network() or badline.lacks(),
    "probing": _probing,
    "iptux": _engine,
    "fleet": _engine,
    "faults": lambda: _network() or _engine(),
    "ipymessenger": _ipymessenger,
    "iptux_window": _window,
}


@functools.cache
def lacks(fixture: str) -> str | None:
    """Why tests with this fixture cannot run here, in one line; None if they can."""
    return CHECKS[fixture]()


def required() -> bool:
    """Where every one of these tests must run: CI, and whoever says so."""
    truth = ("1", "true", "yes")
    return any(os.environ.get(name, "").lower() in truth for name in ("CI", "CAMRELAY_REQUIRE_INTEROP"))
