"""``camrelay status``: one screen that answers "does it work, and if not, what do I do?"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camrelay.cli.options import ConfigOption, JsonOption, subcommand

if TYPE_CHECKING:
    from rich.console import Console

app = subcommand()


@app.command()
def status(
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show whether the running relay works.

    Its name and age, whether it can speak for others, each segment with its users and the state of its sweep,
    what was dropped and why, and every warning with what to do about it.

    \b
    Examples:
      camrelay status
      camrelay status --json | jq .relay.online

    \b
    Exit codes:
      0  users are served
      1  some users are not served; the warnings say who, why and the remedy
      2  wrong usage or configuration
      3  the daemon is not running
    """
    from camrelay.cli.asking import result
    from camrelay.cli.show import console, print_json

    found = result(config, {"do": "status"})
    if as_json:
        print_json(found)
    else:
        _print(console(), found)
    return 1 if finding(found) else 0


def finding(found: dict[str, Any]) -> bool:
    """Whether some users are not served."""
    relay = found["relay"]
    kinds = {row["kind"] for row in relay["segments"]}
    return "local" not in kinds or bool(relay["foreign"]) or ("remote" in kinds and not relay["can_speak"])


def warnings(found: dict[str, Any]) -> list[str]:
    """Every warning with its remedy, those first that mean users who are not served."""
    relay, texts = found["relay"], list(found["warnings"])
    ours = {row["interface"] for row in relay["segments"] if row["interface"]}
    interface = ours.pop() if len(ours) == 1 else "INTERFACE"
    for network, hosts in relay["foreign"].items():
        who = f"{hosts} {'host' if hosts == 1 else 'hosts'} of {network}"
        remedy = f'add to [relay]: also = ["{interface}={network.replace("*", "0/24")}"]'
        texts.insert(0, f"{who} broadcast here: a second network on this wire? {remedy}")
    if not any(row["kind"] == "local" for row in relay["segments"]):
        texts.insert(0, "no segment of its own: no usable interface: camrelay config check says why")
    if found["config"]["problem"]:
        texts.append(f"configuration not reloaded, the old one is in use: {found['config']['problem']}")
    if found["database"]["error"]:
        texts.append(f"roster not saved: {found['database']['error']}")
    return texts


def _print(out: Console, found: dict[str, Any]) -> None:
    from rich.text import Text

    from camrelay.cli.show import age, clean

    relay = found["relay"]
    unserved = f"no, {relay['unserved']} of the users here not served" if relay["unserved"] else "no"
    speaks = ("yes", "green") if relay["can_speak"] else (unserved, "bold red")
    out.print(
        Text.assemble(
            (clean(relay["name"]), "bold"),
            f"  camrelay {found['version']}, up {age(found['uptime'])}, pid {found['pid']}",
            ", speaks for others: ",
            speaks,
        )
    )
    out.print(
        f"{relay['online']} {'user' if relay['online'] == 1 else 'users'} online, {relay['offline']} offline"
        + (f"; {relay['signed']} get signed lists" if relay["signed"] else "")
        + (f"; {relay['sweeping']} addresses left to ask" if relay["sweeping"] else "")
        + (f"; {relay['waiting']} datagrams waiting to go" if relay["waiting"] else "")
    )
    if relay["segments"]:
        out.line()
        _segments(out, relay["segments"])
    if relay["master"]:
        out.line()
        _master(out, relay["master"])
    _fleet(out, found["fleet"])
    _counters(out, found["counters"] | relay["counters"])
    for number, text in enumerate(warnings(found)):
        if not number:
            out.line()
        out.print(Text.assemble(("warning: ", "bold yellow"), clean(text)))


def _segments(out: Console, rows: list[dict[str, Any]]) -> None:
    from camrelay.cli.show import age, table

    made = table(
        "segment", "reached by", "online", "offline", "swept", right=("online", "offline"), whole=("segment",)
    )
    for row in rows:
        swept = "-"
        if row["addresses"] and not row["served_by"]:
            swept = "not yet" if row["swept"] is None else f"{age(row['swept'])} ago"
            swept += f", next in {age(row['next_sweep'])}" if row["next_sweep"] is not None else ""
        made.add_row(row["name"], _way(row), str(row["online"]), str(row["offline"]), swept)
    out.print(made)


def _way(row: dict[str, Any]) -> str:
    """How the relay reaches a segment."""
    from camrelay.cli.show import clean

    other = clean(row["served_by"] or "")
    if row["kind"] == "local":
        return f"{row['interface']}, {row['address']}" + (f", relay {other} announces" if other else "")
    return f"relay {other}" if other else "routers, sweep" if row["addresses"] else "routers"


def _master(out: Console, rows: list[dict[str, Any]]) -> None:
    from camrelay.cli.show import age, clean, table

    made = table(
        "polls from",
        "users",
        "agents",
        "reported",
        "last report",
        right=("users", "reported"),
        whole=("polls from", "last report"),
    )
    for row in rows:
        agents = [f"{agent['address']}{' (asks)' if agent['asks'] else ''}" for agent in row["agents"]]
        last = "none" if row["answered"] is None else f"{age(row['answered'])} ago"
        who = ", ".join(agents) or f"none: {clean(row['why'])}" if agents or row["why"] else "none"
        made.add_row(row["network"], str(row["polling"]), who, str(row["reported"]), last)
    out.print(made)


def _fleet(out: Console, fleet: dict[str, Any]) -> None:
    from camrelay.cli.fleetview import notes, peers_table
    from camrelay.cli.show import clean

    if fleet["peers"]:
        out.line()
        out.print(peers_table(out, fleet["peers"]))
    for line in notes({**fleet, "problem": "", "removed_by": ""}):  # those two are warnings
        out.print(clean(line))


def _counters(out: Console, counters: dict[str, int]) -> None:
    from camrelay.cli.show import table

    made = table("count", "what", right=("count",))
    for name, count in sorted(counters.items(), key=lambda item: (-item[1], item[0])):
        if count:
            made.add_row(f"{count:,}", name)
    if made.row_count:
        out.line()
        out.print(made)
