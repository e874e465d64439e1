"""Network interfaces: which of them leads to another host, and which has an address.

Gloo and NCCL otherwise bind to whatever this host's own name leads to, which on many machines no other host can reach.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import ip_address


def source_address(target: str) -> str:
    """The IPv4 address that this host uses towards another one.

    Raises:
        OSError: the other has no address, or there is no way to it.
    """
    # Connecting a datagram socket only asks the routing table; nothing is sent.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((socket.gethostbyname(target), 9))
        return str(probe.getsockname()[0])


def interface_towards(host: str) -> str | None:
    """The network interface that leads to a host; None where that cannot be told."""
    try:
        return interface_of(source_address(host))
    except OSError:
        return None


def interface_of(address: str) -> str | None:
    """The network interface that owns an IPv4 address; None where that cannot be told."""
    names = [name for _, name in socket.if_nameindex()]
    if ip_address(address).is_loopback:
        return next((name for name in ("lo", "lo0") if name in names), None)
    if not sys.platform.startswith("linux"):
        return None
    return next((name for name in names if _address_of(name) == address), None)


def _address_of(interface: str) -> str | None:
    import fcntl

    request_address = 0x8915  # SIOCGIFADDR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), request_address, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
