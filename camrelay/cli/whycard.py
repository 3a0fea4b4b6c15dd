"""The card that ``camrelay trace why`` shows of one user: sections of a few lines, in the reader's language.

Rule kept here: what is as it should be is said in few words; details of the wire come last in each section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from camrelay.trace.facts import Fact

Row = dict[str, Any]

MOST_SHOWN: Final = 12  # lines of one section; all of them are in the JSON
AGES: Final = {
    "age": "ago",
    "asked": "asked",
    "gone": "gone",
    "forgotten": "forgotten",
}  # details that become words
UNITS: Final = {
    "en": ("{} s", "{} min", "{} h {} min", "{} h", "{} d"),
    "ja": ("{} 秒", "{} 分", "{} 時間 {} 分", "{} 時間", "{} 日"),
}
WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "known": "Known from", "owner": "Owner", "told": "Told to", "life": "Life", "lately": "Lately",
        "names": "Names", "alike": "Similar", "clear": "no finding",
        "broadcast": "heard on our wire ({command})", "unicast": "it spoke to this relay, on our wire ({command})",
        "round": "answered when this relay asked its own segment ({command})",
        "sweep": "answered when its address was asked ({command})",
        "hint": "answered when asked, after something heard from there that proves nobody ({command})",
        "hearsay": "answered when asked, after a list or another relay named it ({command})",
        "peer": "told by relay {via} ({command})", "disk": "known from before the restart ({command})",
        "since": "here for {joined}; these words were read {said} ago; last sign of life {heard} ago",
        "off": "gone; last sign of life {heard} ago",
        "datagram": "datagram: {line}", "pinned": "its public key is known: nobody else can sign as it",
        "r.owner": "owner", "r.witness": "witness: hears it, too", "r.elsewhere": "hears it at {address}",
        "r.contests": "heard it at {address}, asks the owner", "r.before": "said so earlier, not confirmed",
        "ours": "this relay", "unlinked": "no link now", "nobody": "nobody hears it now",
        "t.broadcast": "{command} in {charset} to all ({listeners})",
        "t.unicast": "{command} in {charset} to each of {listeners}",
        "t.signed": "signed list to each of {listeners}", "t.agents": "signed list through agents, for {listeners}",
        "w.own": "its own segment: hears it itself", "w.rule": "not: hidden by sharing rule {rule}",
        "w.relay": "by relay {by}", "w.mute": "not: this relay may not speak as others",
        "w.between": "not: nothing is announced between remote segments", "w.nobody": "no client known there",
        "w.offline": "not: it is gone", "w.doubt": "not before it has answered", "w.is-relay": "not: it is a relay",
        "w.by": "by its own relay",
        "i.": "relay {relay}", "i.rule": "not: hidden by sharing rule {rule}", "i.away": "no link now",
        "i.not-ours": "from its own relay", "i.late": "being told",
        "asked": "asked in {asked}, given up in {gone}, forgotten in {forgotten}, if nothing more is heard",
        "silent": "{unanswered} of 4 questions unanswered; given up in {gone}, forgotten in {forgotten}",
        "gone": "forgotten in {forgotten}", "looked": "asked again in {asked}",
        "by-peer": "relay {via} decides", "by-peer-away": "relay {via} is away: gone in {gone}",
        "waiting": "asked, no answer yet: {waiting}", "listed": "was given its whole list {listed} ago",
        "charset": "{charset}, {sure}", "sure.proven": "proven by its own datagram", "sure.guessed": "guessed",
        "sure.marked": "and a second time in UTF-8, which counts", "raw": "{name} as sent: {hex}",
        "likelier": "likelier {charset}: {names}", "twin": "the same name is live at {twin}, too",
        "rival": "a relay heard it at {rival}; {address} is being asked",
        "candidate": "heard at {candidate}; {address} is being asked",
        "s.logon": "same logon", "s.host": "same PC", "s.address": "same address", "nick": "and nick",
        "ago": "{age} ago", "comma": ", ", "more": "and {more} more (all in --json)",
        "e.joined": "joined at {address}", "e.changed": "changed: now {detail}",
        "e.moved": "moved from {detail} to {address}", "e.left": "left {address} ({detail})",
        "e.replaced": "somebody else spoke from {address}", "e.twin": "heard at {detail}, too",
        "online": "online", "unverified": "in doubt", "offline": "gone",
    },
    "ja": {
        "known": "登録の経緯", "owner": "担当", "told": "通知先", "life": "存在確認", "lately": "最近の動き",
        "names": "名前", "alike": "似たユーザー", "clear": "問題なし",
        "broadcast": "自セグメントのブロードキャストを受信({command})",
        "unicast": "自セグメントのユニキャストを受信({command})",
        "round": "自セグメントへの問い合わせに応答({command})",
        "sweep": "アドレスへの問い合わせに応答({command})",
        "hint": "未確認のパケットを受けて問い合わせ、応答を受信({command})",
        "hearsay": "一覧またはほかの中継サーバーの情報で問い合わせ、応答を受信({command})",
        "peer": "中継サーバー {via} からの通知({command})", "disk": "再起動前からの登録({command})",
        "since": "オンラインになって {joined}、この内容の受信は {said}前、最後の受信は {heard}前",
        "off": "オフライン、最後の受信は {heard}前",
        "datagram": "パケット: {line}", "pinned": "公開鍵を記憶済み(ほかの者は本人として署名できません)",
        "r.owner": "担当", "r.witness": "同じユーザーを受信", "r.elsewhere": "{address} から受信",
        "r.contests": "{address} から受信し、担当に確認中", "r.before": "以前の情報(未確認)",
        "ours": "この中継サーバー", "unlinked": "現在リンクなし", "nobody": "受信している中継サーバーはありません",
        "t.broadcast": "{command}({charset})を全員に({listeners} 台)",
        "t.unicast": "{command}({charset})を個別に {listeners} 台へ",
        "t.signed": "署名付き一覧を個別に {listeners} 台へ",
        "t.agents": "署名付き一覧をエージェント経由で {listeners} 台へ",
        "w.own": "本人のセグメント(直接届きます)", "w.rule": "通知なし: 共有規則 {rule} 番",
        "w.relay": "中継サーバー {by} が通知", "w.mute": "通知なし: ほかのユーザーとして送信できません",
        "w.between": "通知なし: 離れたセグメント同士の通知は無効です", "w.nobody": "既知のクライアントなし",
        "w.offline": "通知なし: オフライン", "w.doubt": "通知なし: 応答待ち",
        "w.is-relay": "通知なし: 中継サーバー",
        "w.by": "そのセグメントの中継サーバーが通知",
        "i.": "中継サーバー {relay}", "i.rule": "通知なし: 共有規則 {rule} 番", "i.away": "現在リンクなし",
        "i.not-ours": "本人の中継サーバーが通知", "i.late": "伝達中",
        "asked": "受信が途絶えた場合: {asked}後に存在確認、{gone}後にオフライン扱い、{forgotten}後に登録を削除",
        "silent": "4 回中 {unanswered} 回応答なし。{gone}後にオフライン扱い、{forgotten}後に登録を削除",
        "gone": "{forgotten}後に登録を削除", "looked": "{asked}後に再確認",
        "by-peer": "中継サーバー {via} の判断による",
        "by-peer-away": "中継サーバー {via} はリンク切れ: {gone}後にオフライン扱い",
        "waiting": "問い合わせ済み・未応答: {waiting}", "listed": "本人への一覧全体の送信は {listed}前",
        "charset": "{charset}、{sure}", "sure.proven": "パケット自体により確定", "sure.guessed": "推定",
        "sure.marked": "UTF-8 でも併記(こちらを使用)", "raw": "{name} の元データ: {hex}",
        "likelier": "{charset} の可能性大: {names}", "twin": "同じ名前のユーザーが {twin} でもオンライン",
        "rival": "ほかの中継サーバーが {rival} から受信。{address} に存在確認中",
        "candidate": "{candidate} から受信。{address} に存在確認中",
        "s.logon": "同じログオン名", "s.host": "同じ PC", "s.address": "同じアドレス", "nick": "ニックネームも同じ",
        "ago": "{age}前", "comma": "、", "more": "ほか {more} 件(--json ですべて表示)",
        "e.joined": "{address} で参加", "e.changed": "変更: 現在 {detail}",
        "e.moved": "{detail} から {address} へ移動", "e.left": "{address} から離脱({detail})",
        "e.replaced": "{address} から別のユーザーが発信", "e.twin": "{detail} からも受信",
        "online": "オンライン", "unverified": "確認中", "offline": "オフライン",
    },
}  # fmt: skip


def age(seconds: float | None, lang: str) -> str:
    """A duration in the two words a person needs; "" for none."""
    if seconds is None:
        return ""
    secs, mins, both, hours_only, days = UNITS[lang]
    whole = max(0, round(seconds))
    if whole < 120:
        return secs.format(whole)
    if whole < 7200:
        return mins.format(whole // 60)
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:
        return days.format(round(whole / 86_400))
    return both.format(hours, minutes) if minutes else hours_only.format(hours)


def worded(fact: Fact, lang: str) -> Fact:
    """The same with its times in words."""
    import msgspec

    words = {
        AGES[k]: age(v, lang) for k, v in fact.detail.items() if k in AGES and isinstance(v, int | float)
    }
    return msgspec.structs.replace(fact, detail={**fact.detail, **words})


def print_card(out: Console, one: Row, lang: str) -> None:
    """One user."""
    from rich.text import Text

    from camrelay.cli.show import clean
    from camrelay.cli.wrapping import Prose

    row, said = one["row"], WORDS[lang]
    styles = {"online": "green", "unverified": "yellow", "offline": "dim"}
    title = Text.assemble((clean(row["nick"]), "bold"), f" ({clean(row['group'])})" if row["group"] else "")
    title.append(
        f"  {clean(row['logon'])}/{clean(row['host'])}  {row['address']}:{row['port']}  {row['segment']}  "
    )
    title.append(said[row["state"]], styles.get(row["state"], ""))
    title.append(f"  {clean(row['version'] or row['kind'])}")
    out.print(Prose(title))
    sections = {
        "known": _known(row, said, lang), "owner": _owner(row, said), "told": _told(row, said),
        "names": _names(row, said), "life": _life(row, said, lang), "alike": _alike(row, said, lang),
        "lately": _lately(one["history"], said, lang),
    }  # fmt: skip
    from rich.table import Table

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column()
    for name, lines in sections.items():
        for number, line in enumerate(_some(list(lines), said)):
            made.add_row(Text("" if number else said[name], "bold"), Prose(clean(line)))
    out.print(made)


def _some(lines: list[str], said: dict[str, str]) -> list[str]:
    more = len(lines) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], said["more"].format(more=more)] if more > 0 else lines


def _known(row: Row, said: dict[str, str], lang: str) -> Iterator[str]:
    life, words = row["life"], row["words"]
    yield said[row["learned"]].format(command=words["command"], via=row["via"])
    form = said["off" if row["state"] == "offline" else "since"]
    yield form.format(**{k: age(life[k], lang) for k in ("joined", "said", "heard")})
    yield said["datagram"].format(line=words["line"])
    if row["pinned"]:
        yield said["pinned"]


def _owner(row: Row, said: dict[str, str]) -> Iterator[str]:
    if not row["holders"]:
        yield said["nobody"]
    for holder in row["holders"]:
        name = said["ours"] if holder["ours"] else holder["relay"]
        away = "" if holder["linked"] else f" ({said['unlinked']})"
        yield f"{name}: {said['r.' + holder['role']].format(address=holder['address'])}{away}"


def _told(row: Row, said: dict[str, str]) -> Iterator[str]:
    """A line for each segment, those of other relays together; then the relays."""
    by: dict[str, int] = {}
    for one in row["audience"]:
        if one["why"] == "relay":
            text = said["w.relay"].format(by=one["by"]) if one["by"] else said["w.by"]
            by[text] = by.get(text, 0) + 1
            continue
        parts = [said["t." + part["how"]].format(**part) for part in one["told"]]
        yield f"{one['segment']}: " + (" + ".join(parts) or said["w." + one["why"]].format(**one))
    yield from (f"{number} x {text}" for text, number in by.items())
    for peer in row["informed"] if row["home"] else ():
        state = said["i." + peer["why"]].format(**peer)
        yield f"{said['i.'].format(**peer)}: {state}" if peer["why"] else state


def _names(row: Row, said: dict[str, str]) -> Iterator[str]:
    words = row["words"]
    if not words["raw"] and not words["garbled"]:
        return
    sure = said["sure.proven" if words["proven"] else "sure.guessed"]
    yield said["charset"].format(
        charset=words["charset"], sure=said["sure.marked"] if words["marked"] else sure
    )
    better = words["garbled"]
    if better:
        for name, raw in words["raw"].items():
            yield said["raw"].format(name=name, hex=raw)
        if better["charset"]:
            names = " ".join(dict.fromkeys(name for name in better["names"] if name))
            yield said["likelier"].format(charset=better["charset"], names=names)


def _life(row: Row, said: dict[str, str], lang: str) -> Iterator[str]:
    life = row["life"]
    words = {name: age(life[name + "_in"], lang) for name in ("asked", "gone", "forgotten")}
    if row["state"] == "offline":
        yield said["gone"].format(**words)
        if words["asked"]:
            yield said["looked"].format(**words)
    elif not row["home"]:
        yield said["by-peer-away" if words["gone"] else "by-peer"].format(via=row["via"], **words)
    elif life["unanswered"]:
        yield said["silent"].format(unanswered=life["unanswered"], **words)
    else:
        yield said["asked"].format(**words)
    if life["waiting"]:
        yield said["waiting"].format(waiting=", ".join(life["waiting"]))
    if life["listed"] is not None:
        yield said["listed"].format(listed=age(life["listed"], lang))


def _alike(row: Row, said: dict[str, str], lang: str) -> Iterator[str]:
    for name in ("twin", "rival", "candidate"):
        if row["doubts"][name]:
            yield said[name].format(address=row["address"], **{name: row["doubts"][name]})
    for one in row["alike"]:
        nick = " " + said["nick"] if one["same_nick"] else ""
        who = f"{one['logon']}/{one['host']} {one['address']}"
        ago = said["ago"].format(age=age(one["heard"], lang))
        yield f"{said['s.' + one['same']]}{nick}: " + said["comma"].join((who, said[one["state"]], ago))
    if row["more_alike"]:
        yield said["more"].format(more=row["more_alike"])


def _lately(history: Iterable[Row], said: dict[str, str], lang: str) -> Iterator[str]:
    for one in history:
        yield f"{said['ago'].format(age=age(one['age'], lang))}: {said['e.' + one['what']].format(**one)}"
