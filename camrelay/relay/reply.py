"""The automatic answer of the relay's own user: who it is, how many users it knows, what to do if one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay import __version__

if TYPE_CHECKING:
    from camrelay.relay.context import Context

HELP = frozenset(("help", "?", "\uff1f", "ヘルプ", "へるぷ", "帮助"))
CHINESE = ("gb18030", "gbk", "gb2312", "cp936", "cp950")

ENGLISH = """This is camrelay {version}, relay "{name}". Nobody reads messages here.
I know {here} users in your and my own network segments and {there} beyond.
Send help for more."""
ENGLISH_HELP = """camrelay lists the users of other network segments in your window. You talk to them directly.
Somebody is missing? Press "Refresh" and wait 10 seconds.
Still missing: tell your administrator, who can ask `camrelay users` and `camrelay status` on the relay."""
JAPANESE = """中継サーバー camrelay「{name}」の自動応答です。メッセージを読む人はいません。
中継サーバーのあるセグメントに {here} 人、ほかのセグメントに {there} 人がオンラインです。
使い方を知るには help と送信してください。"""
JAPANESE_HELP = """camrelay は、ほかのセグメントの利用者を一覧に表示します。メッセージは相手に直接届きます。
表示されない人がいるときは、「更新」(Chat&Messenger では「最新表示」)を押し、10 秒ほどお待ちください。
それでも表示されないときは、管理者に連絡してください。"""


def words(context: Context, text: str, charset: str) -> str:
    """The answer to ``text`` for somebody who reads ``charset``: in English, and in Japanese where that is read."""
    asked = text.strip().casefold() in HELP
    japanese = context.settings.codepage == "cp932" and charset.lower() not in CHINESE
    parts = [ENGLISH_HELP if asked else ENGLISH]
    if japanese:
        parts.append(JAPANESE_HELP if asked else JAPANESE)
    users = [user for user in context.roster.online() if not user.is_relay]
    here = sum(1 for user in users if user.segment.interface is not None)
    known = {"version": __version__, "name": context.settings.name, "here": here, "there": len(users) - here}
    return "\n\n".join(part.format(**known) for part in parts)
