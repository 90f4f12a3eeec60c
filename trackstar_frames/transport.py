"""requests, made safe for credentials: to whom it sends, when, and how long it waits.

The only room that touches sockets. Redirects stay with scheme, host and port; no cookie is
kept, no netrc is read; an answer has to be whole in time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

__all__ = ["FAULTS", "Browser", "Browsers", "Reply", "advice", "get", "is_transient"]

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
_CONNECT_TIMEOUT = 10.0  # seconds
_CHUNK = 1 << 18  # bytes
_Pools = TypeVar("_Pools", bound=urllib3.PoolManager)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A whole answer, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def get(browser: Browser, url: str, params: dict[str, str], timeout: float) -> Reply:
    """Get one whole answer; `timeout` seconds to begin, and to end, from when it was sent.

    Raises
    ------
    OSError, urllib3.exceptions.HTTPError, ValueError
        See `FAULTS`. Their frames hold the headers in clear.
    """
    patience = (min(timeout, _CONNECT_TIMEOUT), timeout)
    with browser.get(url, params=params, timeout=patience, stream=True) as answer:
        parts = []
        while part := answer.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            if time.monotonic() > browser.sent + timeout:
                raise requests.ReadTimeout(f"the answer was not whole after {timeout:g} s")
        return Reply(answer.status_code, answer.headers, b"".join(parts))


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


class Browser(requests.Session):
    """A session that is safe for credentials; for one thread at a time, as `requests` asks.

    It follows no redirect to another scheme, host or port: the headers would travel along.

    Parameters
    ----------
    sign
        Adds the credentials to each request.
    trust_env
        Whether proxies and certificates are taken from the environment.

    Attributes
    ----------
    turn : callable
        Is called before each request, those of redirects too, once the connection is open;
        may wait.
    sent : float
        When the last request was sent (`time.monotonic`).
    """

    def __init__(
        self,
        sign: Callable[[requests.PreparedRequest], requests.PreparedRequest],
        *,
        trust_env: bool,
    ) -> None:
        super().__init__()
        self.auth = sign
        self.trust_env = trust_env
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.turn: Callable[[], object] = bool
        self.sent = 0.0
        for scheme in ("https://", "http://"):
            self.mount(scheme, _InTurn(self._begin))

    def _begin(self) -> None:
        self.turn()
        self.sent = time.monotonic()

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, *_: object) -> None:
        """Take no cookie along; the inherited one would also look into netrc."""
        prepared_request.headers.pop("Cookie", None)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Know of no target beyond scheme, host and port."""
        target = super().get_redirect_target(resp)
        if target is None or _origin(urljoin(resp.url, target)) != _origin(resp.url):
            return None
        return target


class _InTurn(requests.adapters.HTTPAdapter):
    """Open connections whose requests wait for their turn.

    They wait with the connection open: what is sent then is soon at the server, and the
    server's count of one second is the same as ours.
    """

    def __init__(self, turn: Callable[[], object]) -> None:
        self._turn = turn
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Have the inherited pools open such connections."""
        super().init_poolmanager(*args, **options)
        self._take_turns(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> urllib3.ProxyManager:
        """Have the pools of a proxy open such connections."""
        pools: urllib3.ProxyManager = super().proxy_manager_for(*args, **options)
        return self._take_turns(pools)

    def _take_turns(self, pools: _Pools) -> _Pools:
        pools.pool_classes_by_scheme = {
            "http": _in_turn(urllib3.HTTPConnectionPool, self._turn),
            "https": _in_turn(urllib3.HTTPSConnectionPool, self._turn),
        }
        return pools


def _in_turn(
    kind: type[urllib3.HTTPConnectionPool], turn: Callable[[], object]
) -> type[urllib3.HTTPConnectionPool]:
    class Connection(kind.ConnectionCls):  # type: ignore[misc, name-defined]
        def request(self, *args: Any, **options: Any) -> None:
            if self.is_closed:
                self.connect()
            turn()
            super().request(*args, **options)

    return type("Pool", (kind,), {"ConnectionCls": Connection})


class Browsers:
    """Browsers to lend, one for each thread that asks at the same time, with open connections.

    Parameters
    ----------
    open_browser
        Makes one more.
    """

    def __init__(self, open_browser: Callable[[], Browser]) -> None:
        self._open_browser = open_browser
        self._idle: list[Browser] = []
        self._process = os.getpid()

    @contextmanager
    def lend(self) -> Iterator[Browser]:
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


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
