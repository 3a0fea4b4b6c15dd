"""Users of IP Messenger as a large office has them: Japanese names, key fingerprints, Windows' own host names."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from camrelay.relay.messages import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES = {
    "佐藤": "sato",
    "鈴木": "suzuki",
    "高橋": "takahashi",
    "田中": "tanaka",
    "伊藤": "ito",
    "渡辺": "watanabe",
    "山本": "yamamoto",
    "中村": "nakamura",
    "小林": "kobayashi",
    "加藤": "kato",
    "吉田": "yoshida",
    "佐々木": "sasaki",
    "山口": "yamaguchi",
    "松本": "matsumoto",
    "井上": "inoue",
    "木村": "kimura",
    "林": "hayashi",
    "斎藤": "saito",
    "清水": "shimizu",
}
GIVEN = (
    "太郎",
    "花子",
    "一郎",
    "健",
    "誠",
    "直樹",
    "美咲",
    "陽子",
    "大輔",
    "翔太",
    "愛",
    "恵",
    "久美子",
    "学",
)
GROUPS = (
    "営業1課",
    "営業2課",
    "総務部",
    "人事部",
    "開発部",
    "品質保証",
    "経理",
    "Sales",
    "製造",
    "情報システム部",
)
LINES = ("00010002:4:99:103", "00010002:4:99:103", "00010002:5:7:3")
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NOW = 1_790_000_000  # Windows begins its packet numbers with the time of its start
MONTH = 30 * 86_400


def users(number: int, seed: int = 254) -> Iterator[Row]:
    """So many, 40 to 160 of them in a /24."""
    chance = random.Random(seed)
    segment, free = 0, list[int]()
    for _ in range(number):
        if not free:
            segment, free = segment + 1, chance.sample(range(1, 255), chance.randint(40, 160))
        family, roman = chance.choice(list(FAMILIES.items()))
        yield Row(
            logon=f"{roman}{chance.randrange(10_000)}-<{chance.getrandbits(64):016x}>",
            host=chance.choice(("DESKTOP-", "DESKTOP-", "LAPTOP-")) + "".join(chance.choices(LETTERS, k=7)),
            nick=f"{family}{chance.choice(GIVEN)}{chance.randrange(1000)}",
            group=chance.choice(GROUPS),
            version=b"1",
            options=0x0F640000,  # as captured: what 4.99 can do
            parts=b"",
            line=chance.choice(LINES),
            charset=chance.choice(("cp932", "cp932", "cp932", "utf-8")),
            address=f"10.{segment >> 8}.{segment & 255}.{free.pop()}",
            port=2425,
            number=NOW - chance.randrange(MONTH),
            claim=1,
        )
