"""The key file: made once, for its owner only, and never replaced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon.keys import FILE, load_or_create
from camrelay.errors import StartError
from tests.keys import OLD, RELAY, RELAY_PEM

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_are_made_once_and_loaded_again(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    again = load_or_create(tmp_path)
    assert (made.created, again.created) == (True, False)
    assert (made.key.public.bits, made.old and made.old.public.bits) == (2048, 1024)
    assert again.key.public == made.key.public
    assert again.old is not None
    assert made.old is not None
    assert again.old.public == made.old.public
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [FILE]
    assert made.note == again.note == ""


def test_a_key_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(RELAY_PEM)
    keys = load_or_create(tmp_path)
    assert keys.key.public == RELAY.public
    assert keys.old is None


def test_a_file_that_others_can_read_is_shut(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(RELAY_PEM + OLD.pem())
    path.chmod(0o644)
    keys = load_or_create(tmp_path)
    assert keys.note == ""
    assert keys.old is not None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"nonsense", RELAY_PEM[:800], OLD.pem(), b"x" * 70_000])
def test_a_file_that_cannot_be_used_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(content)
    with pytest.raises(StartError, match=FILE):
        load_or_create(tmp_path)
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_written_costs_the_file_only(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path / "missing")
    assert keys.key.public.bits == 2048
    assert "new name at every start" in keys.note
