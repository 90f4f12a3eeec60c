"""requests, made safe for credentials: to whom it sends, when, and how long it waits.

With `wire` the only room that touches sockets. Requests stay with scheme, host and port, those of
redirects too; no cookie is kept, no netrc is read; an answer has to be whole in time, and of some
size.
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
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
import urllib3

__all__ = [
    "FAULTS",
    "ApiSession",
    "Reply",
    "SessionPool",
    "ThrottledAdapter",
    "advice",
    "get",
    "is_transient",
    "reason",
]


#: What a request may end in that is no answer. OSError is what `requests` raises itself, and lets
#: pass for a file of certificates that is not there.
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
#: What faults are called here. The words of the libraries may quote what a server sent, a filter,
#: or the password of a proxy.
_WORDS = (
    (http.client.RemoteDisconnected, "the connection was closed before an answer"),
    (http.client.IncompleteRead, "the answer was cut short"),
    (http.client.HTTPException, "the answer is no HTTP"),
    (urllib3.exceptions.DecodeError, "the answer is not packed as it says"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    (ValueError, "an address or a header cannot be read"),
    (urllib3.exceptions.ProtocolError, "the answer is no HTTP"),
    (urllib3.exceptions.InvalidHeader, "the answer is no HTTP"),
    (TimeoutError, "it took too long"),
)
#: Words of the libraries that quote this machine, or a number.
_OWN_WORDS = re.compile(
    r"Tunnel connection failed: \d{3}|Could not find a suitable TLS CA .*|"
    r"Could not find the TLS .*|Missing dependencies for SOCKS support"
)
_OF_PROXIES = (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)
_CONNECT_TIMEOUT = 10.0  # seconds
_CHUNK = 1 << 18  # bytes
# A kilobyte of zeros unpacks to a megabyte. A page of 1,000 orders has a few megabytes.
_LONGEST = 1 << 28  # bytes
_PORTS = {"http": 80, "https": 443}


class _Fault(requests.RequestException):
    """A fault that was found here, and is told in words of this package."""


class _LateFault(_Fault, requests.Timeout):
    """An answer that was not whole in time."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A whole answer, of any status; of a redirect, why it is not followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    astray: str = ""


def get(browser: ApiSession, url: str, params: dict[str, str], timeout: float) -> Reply:
    """Get one whole answer, behind redirects that do not leave the server.

    Parameters
    ----------
    browser
        Who asks.
    url, params
        What to ask for.
    timeout
        Seconds for one answer to begin, and to end, from when it was asked for.

    Raises
    ------
    OSError, urllib3.exceptions.HTTPError, ValueError
        See `FAULTS`. Their frames hold the headers in clear.
    """
    for _ in range(1 + browser.max_redirects):
        reply, target = _get(browser, url, params, timeout)
        if not target:
            return reply
        url, params = target, {}
    raise _Fault(f"TooManyRedirects: more than {browser.max_redirects} redirects")


def _get(
    browser: ApiSession, url: str, params: dict[str, str], timeout: float
) -> tuple[Reply, str]:
    """Get one whole answer, and where it leads to, if it is to be followed."""
    patience = (min(timeout, _CONNECT_TIMEOUT), timeout)
    try:
        with browser.get(url, params=params, timeout=patience, stream=True) as answer:
            body = b"".join(_parts(answer))
            target, astray = browser.target(answer)
            return Reply(answer.status_code, answer.headers, body, astray), target
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
        raise _LateFault(f"the answer was not whole after {timeout:g} s") from None


def _parts(answer: requests.Response) -> Iterator[bytes]:
    """Read a body as it comes, decompressed, and no more of it than a page can be."""
    size = 0
    while part := answer.raw.read1(_CHUNK, decode_content=True):
        size += len(part)
        if size > _LONGEST:
            raise _Fault(
                f"the answer is longer than {_LONGEST >> 20} MiB; ask for fewer orders at a time, "
                f"with page_size"
            )
        yield part


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may do better; a bad certificate stays bad."""
    return isinstance(error, _TRANSIENT) and not isinstance(error, requests.exceptions.SSLError)


def advice(error: BaseException) -> str:
    """Say what can be done about a fault, where that is known."""
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY" in str(error):
        return (
            "; where a proxy signs anew, as companies' do, put the path of its authority's "
            "certificate (PEM) into the environment variable REQUESTS_CA_BUNDLE"
        )
    return ""


def reason(error: BaseException) -> str:
    """Say what a fault was, in words that quote nothing of what was sent or received."""
    if isinstance(error, _Fault):
        return str(error)
    causes = list(_causes(error))
    told = next((words for each in reversed(causes) if (words := _told(each))), "")
    kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in causes))
    where = "the proxy: " if any(isinstance(each, _OF_PROXIES) for each in causes) else ""
    return f"{where}{told or 'a fault of the network'} ({kinds})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give a fault, and those that it stands for, the outer ones first."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _told(error: BaseException) -> str:
    own = _OWN_WORDS.match(str(error))
    if own:
        return own[0]
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "")


class ApiSession(requests.Session):
    """A session that is safe for credentials; for one thread at a time, as `requests` asks.

    It sends to one scheme, host and port: the headers would travel along to any other.

    Parameters
    ----------
    base_url
        Where it may send.
    sign
        Adds the credentials to each request.
    scrub
        Takes the credentials out of a text.
    trust_env
        Whether proxies and certificates are taken from the environment.

    Attributes
    ----------
    turn : callable
        Is called before each request, those of redirects too, once the connection is open;
        may wait.
    """

    def __init__(
        self,
        base_url: str,
        sign: Callable[[requests.PreparedRequest], requests.PreparedRequest],
        scrub: Callable[[str], str],
        *,
        trust_env: bool,
    ) -> None:
        super().__init__()
        # As it is sent: a name of other letters than ASCII's becomes one of those.
        self._origin = _origin(requests.Request("GET", base_url).prepare().url)
        self.auth = sign
        self._scrub = scrub
        agents = (f"trackstar_frames/{version('trackstar_frames')}", self.headers["User-Agent"])
        self.headers["User-Agent"] = " ".join(map(str, agents))
        self.trust_env = trust_env
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.turn: Callable[[], object] = bool
        for scheme in ("https://", "http://"):
            self.mount(scheme, ThrottledAdapter(self._begin))

    def _begin(self) -> None:
        self.turn()  # that of the request at hand

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send to the one origin, whatever a URL has become on its way here."""
        if _origin(request.url) != self._origin:
            raise _Fault("a redirect leads elsewhere")
        return super().send(request, **options)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Have `requests` follow none: it reads their bodies whatever their size."""

    def target(self, answer: requests.Response) -> tuple[str, str]:
        """Tell where a redirect leads to, or why it is not followed; nothing if it is none.

        It has to stay at the server and to repeat the query, as the answer would else be one to
        another question; and with a credential in it, it would be logged.
        """
        if not answer.is_redirect:
            return "", ""
        try:
            target = urljoin(answer.url, super().get_redirect_target(answer) or "")
            origin, query = _origin(target), _query(target)
        except ValueError:
            return "", "cannot be read"
        if origin != self._origin:
            return "", "leads to another server"
        if query != _query(answer.url):
            return "", "does not repeat the query as it is, and with it the filters"
        if self._scrub(target).count("***") > self._scrub(answer.url).count("***"):
            return "", "holds a credential"
        return target, ""


class SessionPool:
    """Browsers to lend, one for each thread that asks at the same time, with open connections.

    Parameters
    ----------
    open_browser
        Makes one more.
    """

    def __init__(self, open_browser: Callable[[], ApiSession]) -> None:
        self._open_browser = open_browser
        self._idle: list[ApiSession] = []
        self._process = os.getpid()

    @contextmanager
    def lend(self) -> Iterator[ApiSession]:
        """Lend a browser until the block ends."""
        if self._process != os.getpid():  # the connections are those of the parent
            self._idle, self._process = [], os.getpid()
        try:
            browser = self._idle.pop()
        except IndexError:
            browser = self._open_browser()
        try:
            yield browser
        finally:
            self._idle.append(browser)

    def close(self) -> None:
        """Close the connections of all that are not lent."""
        while self._idle:
            self._idle.pop().close()


def _origin(url: str | None) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url or "")
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _query(url: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(urlsplit(url).query, keep_blank_values=True))


_log = logging.getLogger("trackstar_frames")

#: Interim answers. After 101 another protocol would follow, for which nobody asks.
_INTERIM = {*range(100, 200)} - {101}

_Pools = TypeVar("_Pools", bound=urllib3.PoolManager)


class ThrottledAdapter(requests.adapters.HTTPAdapter):
    """Opens connections whose requests wait for their turn, and whose answers end in time.

    Requests wait with the connection open: what is sent then is soon at the server, and the
    server's count of one second is the same as ours. urllib3 logs what it is told to ask for:
    it is told the path of the first request alone, and what to ask for is put in its place late.
    Filters may be personal data, and so may a path that a server leads to.

    Parameters
    ----------
    turn
        Is called before each request, and may wait.
    """

    def __init__(self, turn: Callable[[], object]) -> None:
        self._turn = turn
        self._target = self._told = ""
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Have the inherited pools open such connections."""
        super().init_poolmanager(*args, **options)
        self._take_turns(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        """Have the pools of a proxy open such connections."""
        known: urllib3.ProxyManager | None = self.proxy_manager.get(proxy)
        return known or self._take_turns(super().proxy_manager_for(proxy, **options))

    def request_url(self, *args: Any, **options: Any) -> str:
        """Tell the path of the first request, and keep that of the one at hand until it is sent."""
        self._target = super().request_url(*args, **options)
        self._told = self._told or self._target.partition("?")[0]
        return self._told

    def _late_target(self) -> str:
        """Wait for the turn of the request at hand, and give its path and query."""
        self._turn()
        return self._target

    def _take_turns(self, pools: _Pools) -> _Pools:
        # Of its own kinds: those of a SOCKS proxy are others.
        pools.pool_classes_by_scheme = {
            scheme: _in_turn(kind, self._late_target)
            for scheme, kind in pools.pool_classes_by_scheme.items()
        }
        return pools


def _in_turn(
    kind: type[urllib3.HTTPConnectionPool], late_target: Callable[[], str]
) -> type[urllib3.HTTPConnectionPool]:
    class Connection(kind.ConnectionCls):  # type: ignore[misc, name-defined]
        response_class = _InTime
        # Whoever sets it for all of http.client would have the credentials printed.
        debuglevel = 0

        def request(self, method: str, _: str, *args: Any, **options: Any) -> None:
            if self.is_closed:
                self.connect()
            super().request(method, late_target(), *args, **options)

    return type("Pool", (kind,), {"ConnectionCls": Connection})


class _InTime(HTTPResponse):
    """An answer that has to be whole, with its head, when the socket's time is over.

    By itself that time is for each read: a server that sends a byte now and then has no end.
    What comes before the answer proper (1xx) is passed over, all of it and not 100 alone.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Clocked(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read the head of the answer."""
        super().begin()
        while self.status in _INTERIM:  # without a header, it begins anew
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        if self.headers.defects or self.headers.get_payload():
            # urllib3 would log the lines, which may hold anything.
            _log.warning("the header of an answer cannot be read to its end")
            self.headers.defects.clear()
            self.headers.set_payload("")


class _Clocked(io.RawIOBase):
    """What comes from a socket, until its time is over."""

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
