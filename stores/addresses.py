"""Where a request to elsewhere may go, so that nobody has Lethe ask its own network (SSRF).

A host is looked up once, and the address that was found harmless is the one that is connected to;
the certificate is still checked against the host's name. So a name that leads elsewhere at the
second look-up (DNS rebinding) gains nothing.

    https://host/path ──> look up ──> all addresses public? ──> Destination ──> connection to it
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from schemas.errors import StoreError, StoreUnavailable

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], list[str]]
"""The addresses of a host. Raises ``OSError`` if there are none."""

_PORTS = {"https": 443, "http": 80}
_NAT64 = ip_network("64:ff9b::/96")


class AddressRefused(StoreError):
    """An address of the network is not one that may be asked; the message does not name it."""

    code = "address_refused"


@dataclass(frozen=True)
class Destination:
    """What to connect to, ``address``, for which ``host``, and what to ask for there."""

    scheme: str
    host: str
    port: int
    address: str
    path: str

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, *, private: bool = False) -> str:
    """The URL, if it can be asked. Raises ``AddressRefused``.

    It is ``https``, or ``http`` where ``private`` addresses are allowed, without user or fragment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the address is no URL") from None
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise AddressRefused("the address must begin with https://")
    if not parts.hostname or parts.username is not None or parts.fragment or port == 0:
        raise AddressRefused("the address must be https://HOST[:PORT]/PATH, without user")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise AddressRefused("the address holds characters that no URL has")
    return url


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host as the system knows them. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def destination_of(url: str, *, private: bool = False, resolve: Resolve = look_up) -> Destination:
    """Where a URL leads now.

    Raises ``AddressRefused`` for one that may not be asked: all addresses of its host have to be
    public, unless ``private`` ones are allowed. Raises ``StoreUnavailable`` if it has none.
    """
    parts = urlsplit(check_url(url, private=private))
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError):
        raise StoreUnavailable("the host's address cannot be looked up") from None
    if not addresses:
        raise StoreUnavailable("the host has no address")
    if not private and not all(is_public(address) for address in addresses):
        raise AddressRefused("the host's address is not a public one")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, addresses[0], path)


def is_public(text: str) -> bool:
    """Whether an address is anybody's on the Internet.

    Not so: loopback, link-local (with the metadata services of clouds), private, shared, multicast
    and reserved ones, and IPv6 addresses that lead to an IPv4 address by a gateway.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_global(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None or address in _NAT64:
            return False
    return _is_global(address)


def _is_global(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def connection_to(destination: Destination, seconds: float) -> HTTPConnection:
    """A connection to the address that was looked up, not open yet; each step has ``seconds``.

    Send ``Destination.authority`` as ``Host``. Certificates are checked for the host's name.
    """
    address, port = destination.address, destination.port
    if destination.scheme == "http":
        return HTTPConnection(address, port, timeout=seconds)
    return HTTPSConnection(
        address,
        port,
        timeout=seconds,
        cert_reqs="CERT_REQUIRED",
        server_hostname=destination.host,
        assert_hostname=destination.host,
    )
