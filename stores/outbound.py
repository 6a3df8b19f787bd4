"""HTTP to addresses that somebody else chose: webhooks, callbacks, certificates.

Whoever names an address must not make us speak to machines that they cannot reach themselves. So a
name is resolved once, every address it has is judged, and the connection is made to one of the
addresses that were judged, not to the name: a second answer of the DNS changes nothing. Redirects
are not followed. The time and the size of an answer are bounded, however slowly it comes.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from schemas.errors import Invalid, RequestError, StoreUnavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2000
"""Characters of an address that is taken."""

_PIECE = 1 << 14
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_TARGET = re.compile(r"[\x21-\x7e]*")
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "fd00:ec2::254",
        "169.254.170.2",
        "169.254.170.23",
        "fd00:ec2::23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    )
)
"""Where clouds tell machines and containers their secrets; the last looks like any other."""

_NAT64 = ip_network("64:ff9b::/96")
_NOBODYS = tuple(ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))
"""Special by IANA's registries (RFC 6890), though Python may have them for public."""


class AddressRefused(RequestError):
    """The URL, or what its name resolves to, is not one that we speak to."""

    code = "address_refused"
    http_status = 422


class Unanswered(StoreUnavailable):
    """No answer came: no connection, no trust in its certificate, or not in time."""

    code = "unanswered"


class Unresolved(Unanswered):
    """The name has no address, or none that came in time."""


@dataclass(frozen=True)
class OutboundRules:
    """What may be spoken to; ``networks`` may although they are not public.

    ``seconds`` bound a request from the look-up of the name to the answer's last byte,
    ``most_bytes`` the body of an answer, what follows being left unread.
    """

    plain_http: bool = False
    networks: tuple[Network, ...] = ()
    seconds: float = 10.0
    most_bytes: int = 64 * 1024


@dataclass(frozen=True)
class OutboundAnswer:
    """What came back; ``headers`` in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_whole: bool = True


Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port. Raises ``OSError``."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses that this machine's resolver gives."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Outbound:
    """Makes requests, each on a connection of its own. For any number of threads."""

    def __init__(
        self,
        rules: OutboundRules,
        resolve: Resolve = resolve,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._tls = tls

    def send(
        self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> OutboundAnswer:
        """The answer, whatever its status. Raises ``AddressRefused`` and ``Unanswered``."""
        parts = split_url(url, self._rules)
        until = time.monotonic() + self._rules.seconds
        addresses = self.judged(parts, until)
        request = _encoded(method, parts, body, headers or {})
        try:
            with _connected(addresses, port_of(parts), until) as raw:
                return self._exchange(raw, parts, request, method, until)
        except ssl.SSLError:
            raise Unanswered("the certificate, or TLS, is not to be trusted") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"no answer: {_kind(error)}") from None

    def check(self, url: str) -> None:
        """Raises ``AddressRefused`` if it is to be refused now, and ``Unanswered``."""
        parts = split_url(url, self._rules)
        self.judged(parts, time.monotonic() + self._rules.seconds)

    def judged(self, parts: SplitResult, until: float) -> list[str]:
        """All addresses of a URL's host. Raises ``AddressRefused`` if one is not to be reached."""
        host = str(parts.hostname)
        found = _within(until, lambda: self._resolve(host, port_of(parts)))
        if not found:
            raise Unresolved("the name has no address")
        if not all(is_allowed(_parsed(text), self._rules.networks) for text in found):
            raise AddressRefused("the URL does not lead to an address that is public")
        return list(dict.fromkeys(found))

    def _exchange(
        self, raw: socket.socket, parts: SplitResult, request: bytes, method: str, until: float
    ) -> OutboundAnswer:
        if parts.scheme == "http":
            return _answer(raw, request, method, until, self._rules.most_bytes)
        raw.settimeout(_left(until))
        with self._tls().wrap_socket(raw, server_hostname=parts.hostname) as secured:
            return _answer(secured, request, method, until, self._rules.most_bytes)


def split_url(url: str, rules: OutboundRules) -> SplitResult:
    """The parts of a URL that may be spoken to, as far as can be told without looking it up.

    Raises ``AddressRefused``, which does not repeat the URL: it may hold a secret.
    """
    if len(url) > LONGEST_URL or not _TARGET.fullmatch(url):
        raise AddressRefused("the URL is too long, or has characters that have to be encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the URL is not well formed") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and rules.plain_http):
        raise AddressRefused("the URL must begin with https://")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("the URL must have no user, password or fragment")
    if port == 0 or not _HOST.fullmatch(parts.hostname or ""):
        raise AddressRefused("the URL must name a host, and a port only from 1 to 65535")
    return parts


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_allowed(address: Address, networks: Iterable[Network] = ()) -> bool:
    """Whether an address is public, or in one of these networks; metadata addresses never are."""
    inner = _embedded(address)
    if address in _METADATA or inner in _METADATA:
        return False
    if any(inner in network for network in networks):
        return True
    return is_public(inner) and is_public(address)


def is_public(address: Address) -> bool:
    """Whether everybody can reach it, and it is one machine's."""
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _NAT64):
        return is_public(_embedded(address))
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    special = special or any(address in network for network in _NOBODYS)
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not special and not is_site_local


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks as they are written, ``10.20.0.0/16``. Raises ``Invalid``."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError:
        raise Invalid("networks: write each as 10.20.0.0/16 or fd12:3456::/32") from None


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _parsed(text: str) -> Address:
    """An address as a resolver gives it, perhaps with a zone."""
    return ip_address(text.partition("%")[0])


def _encoded(method: str, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {
        "Host": parts.netloc,
        "Connection": "close",
        "Accept-Encoding": "identity",
        "User-Agent": "lethe",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {given[name]}" for name in given)]
    if any("\r" in line or "\n" in line for line in lines):
        raise AddressRefused("a header must be of one line")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _connected(addresses: Sequence[str], port: int, until: float) -> socket.socket:
    """A connection to the first address that takes one."""
    failure: OSError = OSError()
    for address in addresses:
        try:
            return socket.create_connection((address, port), _left(until))
        except OSError as error:
            failure = error
    raise failure


def _answer(
    connection: socket.socket, request: bytes, method: str, until: float, most: int
) -> OutboundAnswer:
    connection.settimeout(_left(until))
    connection.sendall(request)
    response = http.client.HTTPResponse(_Bounded(connection, until), method=method)  # type: ignore[arg-type]
    with response:
        response.begin()
        content = bytearray()
        while len(content) <= most and (piece := response.read1(_PIECE)):
            content += piece
        headers = {name.lower(): value for name, value in response.getheaders()}
    return OutboundAnswer(response.status, headers, bytes(content[:most]), len(content) <= most)


class _Bounded(io.RawIOBase):
    """What a connection brings until a moment, though it may come a byte at a time."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until

    def makefile(self, mode: str) -> io.BufferedReader:
        """As a socket's: what the reader of HTTP asks for."""
        del mode
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_left(self._until))
        return self._connection.recv_into(buffer)


def _left(until: float) -> float:
    """Seconds until then. Raises ``TimeoutError``."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _within(until: float, look_up: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What a look-up gives, in time: the system's resolver cannot be told to hurry.

    A look-up that is late is left behind in its thread, which ends when the resolver gives up.
    """
    found: list[Sequence[str]] = []

    def work() -> None:
        try:
            found.append(look_up())
        except (OSError, UnicodeError):
            return

    thread = threading.Thread(target=work, name="resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if not found:
        raise Unresolved("the name could not be resolved")
    return found[0]


def _kind(error: Exception) -> str:
    """What an error is called, and nothing that it says: it may repeat the answer."""
    return "it did not come in time" if isinstance(error, TimeoutError) else type(error).__name__
