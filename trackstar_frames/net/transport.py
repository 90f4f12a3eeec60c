"""requests, made safe for credentials: to whom it sends, when, and how long it waits.

With `wire` the only room that touches sockets. Requests stay with scheme, host and port, those of
redirects too; no cookie is kept, no netrc is read; an answer has to be whole in time, and of some
size.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from trackstar_frames.net.wire import Wires

__all__ = ["FAULTS", "Browser", "Browsers", "Reply", "advice", "get", "is_transient", "reason"]

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
# A kilobyte of zeros unpacks to a megabyte. A page of 1,000 orders has a few megabytes.
_LONGEST = 1 << 28  # bytes
_PASSWORD = re.compile(r"//\S*@")


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A whole answer, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def get(browser: Browser, url: str, params: dict[str, str], timeout: float) -> Reply:
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
        if target is None:
            return reply
        url, params = target, {}
    raise requests.TooManyRedirects(f"more than {browser.max_redirects} redirects")


def _get(
    browser: Browser, url: str, params: dict[str, str], timeout: float
) -> tuple[Reply, str | None]:
    """Get one whole answer, and where it leads to."""
    patience = (min(timeout, _CONNECT_TIMEOUT), timeout)
    try:
        with browser.get(url, params=params, timeout=patience, stream=True) as answer:
            body = b"".join(_parts(answer))
            return Reply(answer.status_code, answer.headers, body), browser.target(answer)
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
        raise requests.ReadTimeout(f"the answer was not whole after {timeout:g} s") from None


def _parts(answer: requests.Response) -> Iterator[bytes]:
    """Read a body as it comes, decompressed, and no more of it than a page can be."""
    size = 0
    while part := answer.raw.read1(_CHUNK, decode_content=True):
        size += len(part)
        if size > _LONGEST:
            raise ValueError(
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
    """Say what a fault was, without the password that the address of a proxy may hold."""
    return _PASSWORD.sub("//***@", f"{type(error).__name__}: {error}")


class Browser(requests.Session):
    """A session that is safe for credentials; for one thread at a time, as `requests` asks.

    It sends to one scheme, host and port: the headers would travel along to any other.

    Parameters
    ----------
    base_url
        Where it may send.
    sign
        Adds the credentials to each request.
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
        *,
        trust_env: bool,
    ) -> None:
        super().__init__()
        # As it is sent: a name of other letters than ASCII's becomes one of those.
        self._origin = _origin(requests.Request("GET", base_url).prepare().url)
        self.auth = sign
        self.trust_env = trust_env
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.turn: Callable[[], object] = bool
        for scheme in ("https://", "http://"):
            self.mount(scheme, Wires(self._begin))

    def _begin(self) -> None:
        self.turn()  # that of the request at hand

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send to the one origin, whatever a URL has become on its way here."""
        if _origin(request.url) != self._origin:
            raise requests.exceptions.InvalidURL("a redirect leads elsewhere")
        return super().send(request, **options)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Have `requests` follow none: it reads their bodies whatever their size."""

    def target(self, answer: requests.Response) -> str | None:
        """Tell where a redirect leads to; None if that is beyond the origin, or it is none."""
        location = super().get_redirect_target(answer)
        target = urljoin(answer.url, location or "")
        return target if location is not None and _origin(target) == self._origin else None


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


def _origin(url: str | None) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url or "")
    return parts.scheme, parts.hostname, parts.port
