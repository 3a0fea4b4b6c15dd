"""The relay as people look at it: rows of users, segments and peers, plain values only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Option
from camrelay.ipmsg.presence import Kind
from camrelay.relay.snapshot import PeerRow, SegmentRow, Snapshot, UserRow
from camrelay.relay.user import State

if TYPE_CHECKING:
    from camrelay.relay.context import Context
    from camrelay.relay.inside import Inside
    from camrelay.relay.peers import Peer
    from camrelay.relay.segment import Segment
    from camrelay.relay.sweep import Sweep
    from camrelay.relay.user import User


SERVED_BY_LIST = (Kind.WINDOWS, Kind.CAMRELAY)  # who needs no foreign source addresses


def row(user: User, now: float) -> UserRow:
    """One user."""
    p = user.presence.anew()  # so that what is looked up for this row alone is not kept: 300 bytes a user
    return UserRow(
        logon=p.logon_text,
        host=p.host_text,
        nick=p.nick_text or p.logon_text,
        group=p.group_text,
        address=user.address,
        port=user.port,
        segment=user.segment.name,
        state=user.state.value,
        home=user.home,
        kind=p.kind.value,
        version=p.edition,
        charset=p.charset,
        away=bool(p.options & Option.ABSENCE) and not p.parts,
        joined=now - user.joined,
        last_seen=now - user.heard,
        twin=user.twin,
        via=user.via,
    )


def peer_row(peer: Peer, now: float) -> PeerRow:
    """One member of the fleet."""
    return PeerRow(
        id=peer.id,
        name=peer.name,
        linked=peer.linked,
        since=now - peer.since,
        users=len(peer.copy),
        owed=len(peer.owed),
        synced=None if peer.synced is None else now - peer.synced,
        local=list(peer.reach.local) if peer.reach else [],
        remote=list(peer.reach.remote) if peer.reach else [],
    )


def snapshot(inside: Inside, now: float) -> Snapshot:
    """Everything ``status`` shows of the relay."""
    inside.parts.name_servers()
    context, sweep = inside.context, inside.sweep
    offline: dict[str, int] = {}
    for user in context.roster.by_key.values():
        if user.state is State.OFFLINE:
            offline[user.segment.name] = offline.get(user.segment.name, 0) + 1
    segments = [
        _segment_row(segment, sweep, offline.get(segment.name, 0), now) for segment in context.segments.all
    ]
    online = sum(1 for _ in context.roster.online())
    unserved = 0
    if not context.can_speak:
        listeners = (user for segment in context.segments.local for user in segment.listeners)
        unserved = sum(1 for user in listeners if user.presence.kind not in SERVED_BY_LIST)
    return Snapshot(
        name=context.settings.name,
        logon=context.own.logon_text,
        can_speak=context.can_speak,
        segments=segments,
        online=online,
        offline=sum(offline.values()),
        unserved=unserved,
        signed=_signed(context) if context.identity else 0,
        waiting=inside.announcer.waiting,
        sweeping=sweep.left,
        master=inside.master.rows(now),
        foreign=inside.hearing.foreign,
        counters=dict(context.counters),
    )


def _signed(context: Context) -> int:
    groups = (group for segment in context.segments.all for group in segment.groups.items())
    return sum(len(users) for dialect, users in groups if dialect.signed)


def _segment_row(segment: Segment, sweep: Sweep, offline: int, now: float) -> SegmentRow:
    interface = segment.interface
    walk = sweep.of(segment)
    return SegmentRow(
        name=segment.name,
        kind="local" if interface else "remote",
        interface=interface.name if interface else None,
        address=interface.address if interface else None,
        online=sum(1 for user in segment.users if user.state is State.ONLINE),
        offline=offline,
        addresses=len(segment.addresses),
        swept=now - walk.done if walk and walk.done is not None else None,
        served_by=segment.server,
        next_sweep=max(0.0, walk.due - now) if walk and walk.due < float("inf") else None,
    )
