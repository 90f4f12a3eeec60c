"""`requests`, safe for credentials: limits where it sends, when, and how long it waits.

The only module that touches sockets. No cookie is kept, and no netrc is read.
"""

from __future__ import annotations

import http.client
import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
import urllib3

from trackstar_frames.errors import NetworkError

_log = logging.getLogger("trackstar_frames")

#: The exceptions of a request without a response. `requests` derives its own from OSError, which
#: it also raises for a missing file of certificates.
FAULTS = (OSError, urllib3.exceptions.HTTPError, ValueError)

_TRANSIENT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.DecodeError,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.TimeoutError,
)
#: Descriptions of faults. The libraries' own may quote what a server sent, a filter, or the
#: password of a proxy.
_DESCRIPTIONS = (
    (http.client.RemoteDisconnected, "the connection was closed before a response"),
    (http.client.IncompleteRead, "the response was cut short"),
    (http.client.HTTPException, "the response is not HTTP"),
    (urllib3.exceptions.DecodeError, "the response is not compressed as its header says"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    (ValueError, "an address or a header cannot be read"),
    (urllib3.exceptions.ProtocolError, "the response is not HTTP"),
    (urllib3.exceptions.InvalidHeader, "the response is not HTTP"),
    (TimeoutError, "it took too long"),
)
#: The libraries' own descriptions that quote only this machine, or a number.
_SAFE_DESCRIPTIONS = re.compile(
    r"Tunnel connection failed: \d{3}|Could not find a suitable TLS CA .*|"
    r"Could not find the TLS .*|Missing dependencies for SOCKS support"
)
_PROXY_ERRORS = (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)
_MAX_DESCRIPTION = 500  # characters
_CONNECT_TIMEOUT = 10.0  # seconds
_CHUNK = 1 << 18  # bytes
# A kilobyte of zeros decompresses to a megabyte. A page of 1,000 orders has a few megabytes.
_MAX_BODY = 1 << 28  # bytes
_PORTS = {"http": 80, "https": 443}


class _Fault(requests.RequestException):
    """A fault found by this module, described in its own words."""


class _Timeout(_Fault, requests.Timeout):
    """A response that was not complete in time."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A complete response, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    target: str = ""  # the URL of a redirect that is to be followed
    not_followed: str = ""  # why a redirect is not followed


class ApiSession(requests.Session):
    """Sends credentials to the origin of `base_url` only; for one thread at a time."""

    def __init__(
        self,
        base_url: str,
        sign: Callable[[requests.PreparedRequest], requests.PreparedRequest],
        scrub: Callable[[str], str],
    ) -> None:
        super().__init__()
        # As it is sent: a host name that is not ASCII is encoded.
        self._origin = _origin(requests.Request("GET", base_url).prepare().url)
        self._scrub = scrub
        self._adapter = ThrottledAdapter()
        for scheme in ("https://", "http://"):
            self.mount(scheme, self._adapter)
        self.auth = sign
        agents = (f"trackstar_frames/{version('trackstar_frames')}", self.headers["User-Agent"])
        self.headers["User-Agent"] = " ".join(map(str, agents))
        # A proxy would read plain http, which is allowed on loopback only.
        self.trust_env = self._origin[0] == "https"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def fetch(
        self, url: str, params: dict[str, str], timeout: float, acquire: Callable[[], object]
    ) -> Reply:
        """Return one complete response, after redirects within the same server.

        It must begin, and end, within `timeout` seconds of its request; before each, `acquire`
        waits until it may be sent. Raises `FAULTS`, whose frames hold the headers in clear.
        """
        self._adapter.acquire = acquire
        for _ in range(1 + self.max_redirects):
            reply = self._fetch_one(url, params, timeout)
            if not reply.target:
                return reply
            url, params = reply.target, {}
        raise _Fault(f"TooManyRedirects: more than {self.max_redirects} redirects")

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, if its final URL is of the one origin."""
        if _origin(request.url) != self._origin:
            raise _Fault("a redirect leads to another server")
        return super().send(request, **options)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Keep `requests` from following redirects: it reads bodies of any size."""

    def _fetch_one(self, url: str, params: dict[str, str], timeout: float) -> Reply:
        """Return one complete response, which may be a redirect."""
        timeouts = (min(timeout, _CONNECT_TIMEOUT), timeout)
        try:
            with self.get(url, params=params, timeout=timeouts, stream=True) as response:
                body = b"".join(_chunks(response))
                redirect = self._redirect(response)
                return Reply(response.status_code, response.headers, body, *redirect)
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
            raise _Timeout(f"the response was not complete after {timeout:g} s") from None

    def _redirect(self, response: requests.Response) -> tuple[str, str]:
        """Return where a redirect leads, or why it is not followed."""
        if not response.is_redirect:
            return "", ""
        try:
            target = urljoin(response.url, super().get_redirect_target(response) or "")
            origin, query = _origin(target), _query(target)
        except ValueError:
            return "", "cannot be read"
        if origin != self._origin:
            return "", "leads to another server"
        if query != _query(response.url):  # other filters would have other orders
            return "", "does not repeat the query as it is, and with it the filters"
        if self._scrub(target).count("***") > self._scrub(response.url).count("***"):
            return "", "holds a credential"  # which would be logged
        return target, ""


class SessionPool:
    """Sessions with open connections to lend, one for each thread that sends a request."""

    def __init__(self, open_session: Callable[[], ApiSession]) -> None:
        self._open_session = open_session
        self._idle: list[ApiSession] = []
        self._process = os.getpid()

    @contextmanager
    def lend(self) -> Iterator[ApiSession]:
        """Lend a session until the block ends."""
        if self._process != os.getpid():  # the connections are those of the parent
            self._idle, self._process = [], os.getpid()
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._open_session()
        try:
            yield session
        finally:
            self._idle.append(session)

    def close(self) -> None:
        """Close the connections of all that are not lent."""
        while self._idle:
            self._idle.pop().close()


def network_error(error: BaseException, base_url: str, scrub: Callable[[str], str]) -> NetworkError:
    """Return the error for one of `FAULTS`, which quotes nothing that was sent or received."""
    description = scrub(_describe(error))[:_MAX_DESCRIPTION]
    is_bad_certificate = isinstance(error, requests.exceptions.SSLError)
    if is_bad_certificate and "CERTIFICATE_VERIFY" in str(error):
        description += (
            "; if a proxy replaces certificates, as in many companies, set the environment "
            "variable REQUESTS_CA_BUNDLE to the path of its authority's certificate (PEM)"
        )
    return NetworkError(
        f"no complete response from {base_url}: {description}",
        retryable=isinstance(error, _TRANSIENT) and not is_bad_certificate,
    )


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Read a body as it comes, decompressed, and no more of it than a page can be."""
    size = 0
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if size > _MAX_BODY:
            raise _Fault(
                f"the response is longer than {_MAX_BODY >> 20} MiB; fetch fewer orders at a "
                f"time, with page_size"
            )
        yield chunk


def _describe(error: BaseException) -> str:
    if isinstance(error, _Fault):
        return str(error)
    causes = list(_causes(error))
    found = next((text for each in reversed(causes) if (text := _description(each))), "")
    kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in causes))
    where = "the proxy: " if any(isinstance(each, _PROXY_ERRORS) for each in causes) else ""
    return f"{where}{found or 'a network error'} ({kinds})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the outer ones first."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _description(error: BaseException) -> str:
    if safe := _SAFE_DESCRIPTIONS.match(str(error)):
        return safe[0]
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return next((text for kind, text in _DESCRIPTIONS if isinstance(error, kind)), "")


def _origin(url: str | None) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url or "")
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _query(url: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(urlsplit(url).query, keep_blank_values=True))


#: Interim responses. After 101 another protocol would follow, which nobody requests.
_INTERIM = {*range(100, 200)} - {101}


class ThrottledAdapter(requests.adapters.HTTPAdapter):
    """Opens connections whose requests wait for the rate limit, and whose responses end in time."""

    #: Waits until the request at hand may be sent. The connection is open by then: so the request
    #: reaches the server soon, which counts it within the same second.
    acquire: Callable[[], object]

    def __init__(self) -> None:
        self._url = self._logged_url = ""
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools, and throttle their connections."""
        super().init_poolmanager(*args, **options)
        self._throttle(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.PoolManager:
        """Return the pools of a proxy, whose connections are throttled."""
        known = self.proxy_manager.get(proxy)
        return known or self._throttle(super().proxy_manager_for(proxy, **options))

    def request_url(self, *args: Any, **options: Any) -> str:
        """Return the path to log, and keep the URL until the request is sent."""
        # urllib3 logs the URL that it is given. Filters, and paths that a server redirects to, may
        # be personal data: it is given the path of the first request only.
        self._url = super().request_url(*args, **options)
        self._logged_url = self._logged_url or self._url.partition("?")[0]
        return self._logged_url

    def _acquire_url(self) -> str:
        """Wait until the request at hand may be sent, and return its path and query."""
        self.acquire()
        return self._url

    def _throttle(self, pools: urllib3.PoolManager) -> urllib3.PoolManager:
        # Each of its own kind: a SOCKS proxy has others.
        pools.pool_classes_by_scheme = {
            scheme: _throttled(kind, self._acquire_url)
            for scheme, kind in pools.pool_classes_by_scheme.items()
        }
        return pools


def _throttled(
    kind: type[urllib3.HTTPConnectionPool], acquire_url: Callable[[], str]
) -> type[urllib3.HTTPConnectionPool]:
    class Connection(kind.ConnectionCls):  # type: ignore[misc, name-defined]
        response_class = _TimedResponse
        # Set for all of http.client, it would have the credentials printed.
        debuglevel = 0

        def request(self, method: str, _: str, *args: Any, **options: Any) -> None:
            if self.is_closed:
                self.connect()
            super().request(method, acquire_url(), *args, **options)

    return type("Pool", (kind,), {"ConnectionCls": Connection})


class _TimedResponse(HTTPResponse):
    """A response that must be complete, with its header, within the timeout of the socket.

    By itself, that timeout is for each read, and a server may send a byte now and then.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read the header of the response; skip every interim response, not only 100."""
        super().begin()
        while self.status in _INTERIM:  # without headers, `begin` reads those of the next response
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        if self.headers.defects or self.headers.get_payload():
            # urllib3 would log the lines, which may hold anything.
            _log.warning("the header of a response cannot be read to its end")
            self.headers.defects.clear()
            self.headers.set_payload("")


class _TimedReader(io.RawIOBase):
    """Reads from a socket until its timeout is over."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._end = time.monotonic() + sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
