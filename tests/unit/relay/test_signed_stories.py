"""The stories of ``test_invariants`` again, for a relay with a key and Windows clients that take and refuse lists."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.keys import PEER, RELAY
from tests.unit.relay.invariants import check
from tests.unit.relay.test_invariants import ACTIONS, PAUSES, Story
from tests.windows import Windows499
from tests.world import Client, Feiq, Iptux, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOWS: Sequence[type[Client]] = [Windows499] * 7
MIXED: Sequence[type[Client]] = [Windows499, Iptux, Windows499, Plain, Windows499, Feiq, Windows499]


@pytest.mark.parametrize("can_speak", [False, True], ids=["listless", "speaking"])
@pytest.mark.parametrize("kinds", [WINDOWS, MIXED], ids=["windows", "mixed"])
@pytest.mark.parametrize("seed", range(8))
def test_a_dense_story_ends_well(seed: int, kinds: Sequence[type[Client]], can_speak: bool) -> None:
    chance = random.Random(seed)
    relays = chance.choice([1, 2])
    story = Story(seed, relays, chance.random() < 0.5, kinds=kinds, keys=(RELAY, PEER), can_speak=can_speak)
    for client in story.clients:
        if chance.random() < 0.8:
            client.start()
            story.world.run(chance.choice([0.0, 0.1, 5.0]))
    for _ in range(60):
        story.happen((chance.choice(ACTIONS), chance.randrange(100), chance.choice(PAUSES)))
    check(story.world, settled=False)
    story.settle()
    check(story.world)
    refused = [client.keys.refused for client in story.clients if isinstance(client, Windows499)]
    assert not any(refused)
