"""Tokens of invitations: what is written is read back, and whatever else is given is told apart in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon import token
from camrelay.daemon.token import PREFIX, Token
from camrelay.errors import TokenError

ADDRESSES = st.lists(st.from_regex(r"[a-z0-9.-]{1,60}:[0-9]{1,5}", fullmatch=True), min_size=1, max_size=16)
TOKENS = st.builds(
    lambda addresses, print_, seed: Token(tuple(addresses), print_.hex(), seed),
    ADDRESSES, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32),
)  # fmt: skip
ONE = Token(("192.168.1.2:2425", "relay.example.com:2425"), "ab" * 32, b"s" * 32)


@given(TOKENS)
def test_what_is_written_is_read_back_from_one_printable_line(made: Token) -> None:
    text = token.write(made)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert token.read(text) == made


@given(TOKENS, st.data())
def test_case_and_blanks_that_mail_programs_put_in_do_not_matter(made: Token, data: st.DataObject) -> None:
    text = token.write(made)
    at = data.draw(st.integers(0, len(text)))
    assert token.read(f"  {text[:at].upper()}\r\n  {text[at:]}\n") == made


@given(st.data())
def test_a_mistyped_letter_is_found(data: st.DataObject) -> None:
    text = token.write(ONE)
    # the last letter has bits that mean nothing
    at = data.draw(st.integers(len(PREFIX), len(text) - 2))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda c: c != text[at]))
    with pytest.raises(TokenError, match="mistyped"):
        token.read(text[:at] + letter + text[at + 1 :])


@given(st.integers(1, 100))
def test_a_token_that_is_cut_off_is_said_to_be_incomplete(less: int) -> None:
    with pytest.raises(TokenError, match="incomplete"):
        token.read(token.write(ONE)[:-less])


@given(st.text() | st.binary().map(lambda raw: PREFIX + raw.hex()))
def test_nothing_but_a_token_is_one_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(TokenError):
        token.read(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no token was given"),
        ("  \n", "no token was given"),
        ("hello", f"begins with {PREFIX}"),
        ("camrelay2-abcd", "another version"),
        (PREFIX + "a" * 5000, "too long"),
        (PREFIX + "0189", "mistyped"),
        (PREFIX, "incomplete"),
    ],
)
def test_each_kind_of_mistake_has_words_of_its_own(text: str, why: str) -> None:
    with pytest.raises(TokenError, match=why) as caught:
        token.read(text)
    assert caught.value.exit_code == 2


def test_what_a_forger_writes_with_a_right_checksum_makes_no_sense() -> None:
    for addresses in ((), ("no port",), ("host:123456",), ("a:1",) * 17):
        with pytest.raises(TokenError, match="makes no sense"):
            token.read(token.write(ONE._replace(addresses=addresses)))
    with pytest.raises(TokenError, match="makes no sense"):
        token.read(token.write(ONE._replace(seed=b"short" * 7)))


def test_the_secret_is_in_no_error_and_no_repr() -> None:
    text = token.write(ONE)
    with pytest.raises(TokenError) as caught:
        token.read(text[:-3])
    assert text[20:60] not in str(caught.value)
    assert "sss" not in repr(ONE)
