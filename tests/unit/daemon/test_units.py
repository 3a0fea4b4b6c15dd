"""The systemd units: what the daemon relies on, and how little it is allowed to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from camrelay.config import Config
from camrelay.daemon.lansocket import RECEIVE_BUFFER, SEND_BUFFER
from camrelay.daemon.notify import SOCKET_NAME
from camrelay.daemon.tasks import PULSE
from camrelay.ipmsg.command import PORT

UNITS = Path(__file__).parents[3] / "systemd"


def unit(name: str, section: str) -> dict[str, str]:
    parser = ConfigParser(strict=False, interpolation=None)  # SystemCallFilter= stands there twice
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(UNITS / name)
    return dict(parser[section])


def test_the_socket_is_the_one_the_daemon_looks_for() -> None:
    found = unit("camrelay.socket", "Socket")
    assert found["ListenDatagram"] == f"0.0.0.0:{PORT}"
    assert found["FileDescriptorName"] == SOCKET_NAME
    assert found["Transparent"] == found["Broadcast"] == found["PassPacketInfo"] == "yes"
    assert found["ReceiveBuffer"] == f"{RECEIVE_BUFFER >> 20}M"
    assert found["SendBuffer"] == f"{SEND_BUFFER >> 20}M"


def test_the_service_has_the_directories_of_the_default_configuration() -> None:
    found = unit("camrelay.service", "Service")
    assert Config().relay.state == f"/var/lib/{found['StateDirectory']}"
    assert Config().control == f"/run/{found['RuntimeDirectory']}/control.sock"
    assert float(found["WatchdogSec"]) > 2 * PULSE


def test_the_sysctl_file_grants_the_buffers() -> None:
    text = (UNITS / "camrelay.sysctl.conf").read_text()
    assert f"net.core.rmem_max = {RECEIVE_BUFFER}\n" in text
    assert f"net.core.wmem_max = {SEND_BUFFER}\n" in text


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt install systemd"
)
def test_the_service_is_exposed_by_at_most_1_3() -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / "camrelay.service"],
        capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    ).stdout  # fmt: skip
    found = re.search(r"Overall exposure level for camrelay\.service: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= 1.3
