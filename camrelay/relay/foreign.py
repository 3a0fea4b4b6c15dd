"""Networks that broadcast on our wires and are not ours: an admin should know of them."""

from __future__ import annotations

from ipaddress import IPv4Address

MAX_FOREIGN = 64  # networks, of up to 256 hosts each


class Foreign:
    """Hosts by network, bounded."""

    def __init__(self) -> None:
        self._networks: dict[str, set[str]] = {}

    @property
    def hosts(self) -> dict[str, int]:
        """How many hosts of each network."""
        return {network: len(hosts) for network, hosts in self._networks.items()}

    def note(self, source: str) -> None:
        """A broadcast of ``source`` was heard."""
        network = f"{IPv4Address(int(IPv4Address(source)) & 0xFFFFFF00)}"[: -len("0")] + "*"
        if network in self._networks or len(self._networks) < MAX_FOREIGN:
            hosts = self._networks.setdefault(network, set())
            if len(hosts) < 256:
                hosts.add(source)
