"""How far an IP address reaches: what an HTTP request may go to, and what only its owner may open up."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


class Reach(StrEnum):
    """Who else is at an address."""

    PUBLIC = "public"  # anybody's: the internet
    PRIVATE = "private"  # the owner's: this machine and the networks around it
    NEVER = "never"  # nobody's, everybody's, or a cloud's credentials


_PRIVATE = [
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # between a carrier and its customers, and VPNs between machines of one owner
        "::1/128",
        "fc00::/7",
    )
]

# Clouds hand out a machine's credentials here, and not all of them at a link-local address.
_METADATA = {ip_address(address) for address in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")}

_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 names an IPv4 address; mobile networks are such
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def reach_of(text: str) -> Reach:
    """Return the reach of the address, for one that wraps an IPv4 address that of the inner one."""
    address = _unwrapped(ip_address(text))
    if address in _METADATA or address.is_multicast:
        return Reach.NEVER
    if any(address in network for network in _PRIVATE):
        return Reach.PRIVATE
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.sixtofour is not None or address.teredo is not None
    ):
        return Reach.NEVER
    return Reach.PUBLIC if address.is_global and not address.is_reserved else Reach.NEVER


def _unwrapped(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
