"""requests, made safe for credentials: to whom it sends, when, and how long it waits.

The only room that touches sockets. Redirects stay with scheme, host and port; no cookie is
kept, no netrc is read; an answer has to be whole in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

__all__ = ["FAULTS", "Reply", "get", "is_transient", "open_session"]

#: What a request may end in that is no answer.
FAULTS = (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)

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


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A whole answer, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def open_session(
    sign: Callable[[requests.PreparedRequest], requests.PreparedRequest],
    turn: Callable[[], AbstractContextManager[None]],
    *,
    trust_env: bool,
) -> requests.Session:
    """Open a session; `requests` does not document it as safe to share between threads.

    Parameters
    ----------
    sign
        Adds the credentials to each request.
    turn
        Is entered before each request, those of redirects too, and left when its answer
        begins.
    trust_env
        Whether proxies and certificates are taken from the environment.
    """
    session = _SameOriginSession()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Throttled(turn))
    session.auth = sign
    session.trust_env = trust_env
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def get(session: requests.Session, url: str, params: dict[str, str], timeout: float) -> Reply:
    """Get one whole answer; `timeout` seconds to begin, and as many to end, from the start.

    Raises
    ------
    requests.RequestException, urllib3.exceptions.HTTPError, ValueError
        See `FAULTS`. Their frames hold the headers in clear.
    """
    deadline = time.monotonic() + timeout
    patience = (min(timeout, _CONNECT_TIMEOUT), timeout)
    with session.get(url, params=params, timeout=patience, stream=True) as answer:
        parts = []
        while part := answer.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout(f"the answer was not whole after {timeout:g} s")
        return Reply(answer.status_code, answer.headers, b"".join(parts))


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may do better; a bad certificate stays bad."""
    return isinstance(error, _TRANSIENT) and not isinstance(error, requests.exceptions.SSLError)


class _SameOriginSession(requests.Session):
    """Follow no redirect to another scheme, host or port: the headers would travel along."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, *_: object) -> None:
        """Take no cookie along; the inherited one would also look into netrc."""
        prepared_request.headers.pop("Cookie", None)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is None or _origin(urljoin(resp.url, target)) != _origin(resp.url):
            return None
        return target


class _Throttled(requests.adapters.HTTPAdapter):
    """Send each request, those of redirects too, when it is its turn."""

    def __init__(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._turn = turn

    def send(self, *request: Any, **options: Any) -> requests.Response:
        with self._turn():
            return super().send(*request, **options)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
