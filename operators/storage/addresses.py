"""Addresses that no input lies at: link-local ones, at which clouds answer with the credentials of a machine."""

from __future__ import annotations

import ipaddress
import socket

#: Metadata services that lie outside the link-local networks: AWS by IPv6, Alibaba, Azure's host, Oracle's old one.
METADATA = tuple(
    ipaddress.ip_address(one)
    for one in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
#: Names of metadata services.
METADATA_NAMES = ("metadata", "metadata.google.internal", "metadata.goog", "instance-data")
#: IPv6 prefix under which IPv4 addresses are translated (RFC 6052).
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
#: What messages say.
REASON = "is a link-local or metadata address of a cloud, which no input is read from"


def is_forbidden_address(text: str) -> bool:
    """Return whether an IP address, in its usual spelling, is link-local or a cloud's metadata service."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return address.is_link_local or address in METADATA


def is_forbidden_host(host: str) -> bool:
    """Return whether a URL's host is such an address in any spelling (``0xa9fea9fe``, ``2852039166``), or the
    name of a metadata service. Other names are not looked up.
    """
    host = host.strip("[]").rstrip(".").lower()
    if host in METADATA_NAMES or is_forbidden_address(host):
        return True
    try:
        # The C library takes decimal, octal, hexadecimal and shortened spellings.
        return is_forbidden_address(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, ValueError):
        return False
