"""Hypothesis strategies for what relays tell each other of users, as rows of the real relay are."""

from __future__ import annotations

from hypothesis import strategies as st

from camrelay.ipmsg.trailer import clean
from camrelay.relay.copy import row_key
from camrelay.relay.messages import Row

SIGNS = st.characters(codec="utf-8")
texts = st.one_of(st.text("ab\u3000山ß İ-<>", max_size=6), st.text(SIGNS, max_size=79)).map(clean)
names = texts.map(lambda text: text.replace(":", ";") or "?")
printed = st.builds(
    "{}-<{}>".format, st.text("ab山", max_size=5), st.text("0123456789abcdef", min_size=16, max_size=16)
)
addresses = st.ip_addresses(v=4, network="10.0.0.0/8").map(str)
numbers = st.integers(0, 2**63 - 1)
others = st.one_of(st.just(b"1"), st.binary(max_size=127).map(lambda raw: b"1" + raw.translate(None, b":\0")))


def row(
    logon: str = "taro-<d1634b9018d53365>", host: str = "PC-1", address: str = "10.1.2.3", nick: str = "太郎"
) -> Row:
    """A user of IP Messenger 4.99."""
    return Row(
        logon,
        host,
        nick,
        "営業",
        b"1",
        0xF640000,
        b"",
        "00010002:4:99:103",
        "cp932",
        address,
        2425,
        1_790_000_000,
        1,
    )


rows = st.builds(
    Row,
    logon=st.one_of(names, printed),
    host=names,
    nick=texts,
    group=texts,
    version=others,
    options=st.integers(0, 2**32 - 1),
    parts=st.binary(max_size=128).filter(lambda raw: raw[:1] != b"\n"),
    line=texts,
    charset=st.sampled_from(["utf-8", "cp932", "gb18030", "cp949", "latin-1"]),
    address=st.one_of(addresses, st.sampled_from(["10.0.0.1", "1.0.0.0", "223.255.255.255"])),
    port=st.integers(1, 65_535),
    number=numbers,
    claim=st.one_of(st.integers(0, 3), numbers),
)
keys = rows.map(row_key)
