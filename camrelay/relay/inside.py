"""What is inside a relay: its parts, made in the order in which they need each other, and introduced to those that were
made before them. Each decides one thing; which one says its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.relay.announce import Announcer
from camrelay.relay.context import Bucket
from camrelay.relay.dictionaries import Dictionaries
from camrelay.relay.hearing import Hearing
from camrelay.relay.lists import Lists
from camrelay.relay.liveness import Liveness
from camrelay.relay.mail import Mail
from camrelay.relay.master import Master
from camrelay.relay.ourselves import Ourselves
from camrelay.relay.parts import Parts
from camrelay.relay.peering import Peering
from camrelay.relay.peers import Peers
from camrelay.relay.publishing import Publishing
from camrelay.relay.questions import Questions
from camrelay.relay.registrar import Registrar
from camrelay.relay.seating import Seating
from camrelay.relay.settling import Settling
from camrelay.relay.sweep import Sweep

if TYPE_CHECKING:
    from camrelay.relay.context import Context


class Inside:
    """See above."""

    def __init__(self, context: Context, now: float) -> None:
        self.context = context
        self.bucket = bucket = Bucket.never_above(context.settings.sweep_rate, now)
        self.questions = questions = Questions(context)
        self.ourselves = Ourselves(context, questions, now)
        self.announcer = announcer = Announcer(context, now)
        self.lists = lists = Lists(context, questions, announcer, bucket)
        self.liveness = liveness = Liveness(
            context, questions, bucket,
            gone=lambda user, now: registrar.left(user, "silent", now),
            forgotten=lambda user, _: registrar.forget(user),
            now=now,
        )  # fmt: skip
        self.sweep = sweep = Sweep(context, questions, bucket, now)
        self.registrar = registrar = Registrar(context, announcer, lists, liveness, questions)
        self.peers = peers = Peers()
        self.publishing = publishing = Publishing(context, peers, sweep, now)
        seating = Seating(context, peers, registrar, announcer, liveness, lists, now)
        self.settling = settling = Settling(context, peers, registrar, liveness, seating, publishing.changed)
        self.parts = parts = Parts(context, peers, publishing, settling, announcer, sweep, now)
        self.peering = Peering(context, peers, publishing, settling, parts, now)
        self.master = master = Master(context, registrar, liveness, lists)
        mail = Mail(context, questions, now)
        dictionaries = Dictionaries(context, lists, mail, master)
        self.hearing = Hearing(context, questions, registrar, lists, liveness, sweep, mail, dictionaries)
        announcer.agents = master.duties
        liveness.hand_over = settling.gave_up
        seating.later = settling.later
        registrar.settling = settling
        registrar.seating = seating
        registrar.parts = parts
