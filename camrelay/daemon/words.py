"""Fingerprints as words that two people can compare over the telephone: one word for each byte.

The list is our own: short and common words. Its order is part of what is shown, so it never changes.
"""

from __future__ import annotations

from typing import Final

SHOWN: Final = 8  # words of a fingerprint: 64 bits, which nobody can match by trying keys
_LIST: Final = (
    "acid acorn actor adult agent alarm album alley amber angel ankle apple april apron arena armor "
    "arrow atlas attic audio autumn badge bagel bamboo banana basket beach beard belt bench bicycle "
    "birch biscuit blanket bottle branch bread bridge brother brush bubble bucket budget bullet "
    "butter button cabin cactus camera candle canyon carbon carpet castle cedar ceiling cello cereal "
    "chalk cherry circle citrus clock cloud clover coconut coffee comet copper coral cotton cousin "
    "cradle crayon crystal curtain cushion dagger daisy dancer desert diamond dinner doctor dolphin "
    "domino donkey dragon drum eagle echo eleven elbow emerald engine envelope evening fabric falcon "
    "farmer feather fiction finger flame flute forest fossil fountain freckle fridge galaxy garden "
    "garlic gecko ghost giant ginger glacier globe goblet gorilla granite grape guitar hammer harbor "
    "hazel helmet hockey honey hotel hunter igloo impulse indigo insect island ivory jacket jaguar "
    "jasmine jelly jewel jigsaw jungle kettle keyboard kidney kitchen kiwi koala ladder lagoon "
    "lantern laser lava lemon leopard library lilac linen lizard lobster lotus lunar magnet mango "
    "maple marble meadow melon menu metal mirror monkey morning mosaic mother museum napkin nectar "
    "needle nephew nickel noodle north novel number nylon oasis ocean october olive onion opera "
    "orange orbit orchid otter oxygen oyster paddle palace panda paper parrot pearl pencil pepper "
    "piano picnic pilot planet pocket polar potato prism pumpkin puzzle pyramid quartz queen rabbit "
    "radio raven ribbon river robot rocket saddle salmon sandal saturn school scissors shadow silver "
    "sister sketch spider spoon summer tablet temple thunder tiger tomato tractor tulip tunnel turtle "
    "umbrella velvet violin walnut window"
)
WORDS: Final = tuple(_LIST.split())


def words_of(fingerprint: str) -> str:
    """The first eight bytes of a fingerprint (hex) as words."""
    return " ".join(WORDS[byte] for byte in bytes.fromhex(fingerprint)[:SHOWN])
