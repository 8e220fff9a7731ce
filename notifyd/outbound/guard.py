"""Which addresses may be called on behalf of somebody who is not the admin.

Whoever may create a config through the API chooses where this machine sends to. The guard keeps such a
config from what only this machine can reach: its own ports, the private network, a cloud's metadata. It
judges addresses, never names: whatever a name, a number or an odd spelling leads to is an address in the end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from notifyd.api import Reject

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# By https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry. Not Python's
# `is_global`, whose answers change from release to release.
_NOT_PUBLIC_4 = {
    "unspecified": ["0.0.0.0/8"],
    "loopback": ["127.0.0.0/8"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "link-local": ["169.254.0.0/16"],  # 169.254.169.254 is the metadata service of most clouds
    "carrier-grade NAT": ["100.64.0.0/10"],  # 100.100.100.200 is Alibaba's metadata service
    "a cloud's metadata": ["168.63.129.16/32"],  # Azure's, at a public address
    "multicast": ["224.0.0.0/4"],
    "reserved": ["192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
                 "203.0.113.0/24", "240.0.0.0/4"],
}  # fmt: skip
_NOT_PUBLIC_6 = {
    "unspecified": ["::/128"],
    "loopback": ["::1/128"],
    "private": ["fc00::/7", "fec0::/10"],
    "link-local": ["fe80::/10"],
    "multicast": ["ff00::/8"],
    "an IPv4 address in disguise": ["::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "2002::/16", "64:ff9b:1::/48",
                                    "2001::/32"],
    "reserved": ["2001::/23", "2001:db8::/32", "3fff::/20"],
}  # fmt: skip
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""How a host without IPv4 reaches all of it, so each address counts as the one within."""


class Guard:
    """Lets through what is public, and what `allowed` names."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, host: str, addresses: Iterable[str]) -> None:
        """Raise Reject if any address of the host may not be called; a host that mixes both is no accident."""
        for address in map(ipaddress.ip_address, addresses):
            kind = not_public(address)
            if kind and not any(address in network for network in self._allowed):
                raise Reject(
                    f"{host}: its address is not public ({kind}); configs made through the API may call only public "
                    "addresses, and those that allow_private_targets in [security] names"
                )


def not_public(address: Address) -> str | None:
    """What kind of address it is, if it is not one of the public internet's."""
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        return not_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    for kind, networks in _KINDS[address.version]:
        if any(address in network for network in networks):
            return kind
    return "reserved" if address.version == 6 and address not in _GLOBAL_6 else None


_KINDS = {
    version: [(kind, [ipaddress.ip_network(network) for network in networks]) for kind, networks in table.items()]
    for version, table in ((4, _NOT_PUBLIC_4), (6, _NOT_PUBLIC_6))
}
