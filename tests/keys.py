"""The test keys that belong to tests/data/ipmsg-vectors.json, and the vectors. For tests only."""

from __future__ import annotations

import json
from typing import Any

from camrelay.ipmsg.crypto import PrivateKey
from tests.pcap import DATA

VECTORS: dict[str, Any] = json.loads((DATA / "ipmsg-vectors.json").read_text("utf-8"))

_KEYS = DATA / "keys"
RELAY_PEM = (_KEYS / "relay-rsa2048.pem").read_bytes()
RELAY = PrivateKey.load(RELAY_PEM)
PEER = PrivateKey.load((_KEYS / "peer-rsa2048.pem").read_bytes())
OLD = PrivateKey.load((_KEYS / "relay-rsa1024.pem").read_bytes())

SIGNED = {name: bytes.fromhex(one["hex"]) for name, one in VECTORS["signed"].items()}
LIST = SIGNED["ANSLIST_DICT"]
POLL = SIGNED["DIR_POLL"]
PACKET = SIGNED["DIR_PACKET(ANSLIST_DICT)"]
REQUEST = SIGNED["DIR_REQUEST(DIR_PACKET)"]
AGENTPACKET = SIGNED["DIR_AGENTPACKET(DIR_PACKET) - unsigned outer"]
