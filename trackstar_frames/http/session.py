"""One connection's HTTP: credentials, cache, rate limit, retries.

`Session.get` takes a page from the cache, or sends a request: each attempt waits for the rate
limit, and its response is checked; only a complete one is counted and stored.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
import requests

from trackstar_frames._text import plain
from trackstar_frames.errors import OfflineMissError, RateLimitError, ResponseError, TrackstarError
from trackstar_frames.http import transport
from trackstar_frames.http.cache import PageCache, StoredPage
from trackstar_frames.http.rate_limit import Slot, limiter_of
from trackstar_frames.http.responses import Envelope, error_for, read_envelope
from trackstar_frames.http.retry import RetryPolicy, read_date, requested_wait
from trackstar_frames.http.transport import ApiSession, Reply, SessionPool
from trackstar_frames.settings import Credentials, Masked, Settings

_log = logging.getLogger("trackstar_frames")

#: Raises ResponseError for a response that is complete and yet not acceptable.
Check = Callable[[Envelope], None]


@dataclass(frozen=True, slots=True)
class PageResponse:
    """One complete response."""

    stored: StoredPage
    envelope: Envelope = field(repr=False)  # its body, checked and cut into orders
    from_cache: bool


class Observer:
    """Is called at the requests of a session, and waits for it; this base class shows nothing."""

    def on_request(self, left: int | None) -> None:
        """Take note of a request; `left` more may follow at once (None: no limit)."""

    def wait(self, why: str, seconds: float) -> None:  # noqa: ARG002  (others show it)
        """Wait; what this raises ends the request."""
        time.sleep(seconds)


_SILENT = Observer()


def _now() -> float:
    return time.time()  # looked up at each call, for programs that set the clock in their tests


class Session:
    """GET requests of one connection; safe to use from several threads, and after a fork."""

    def __init__(
        self, settings: Settings, credentials: Credentials, clock: Callable[[], float] = _now
    ) -> None:
        self.settings = settings
        #: Names the budget of requests, and so the token, without showing it.
        self.budget = credentials.fingerprint(f"the budget of {settings.base_url}")
        self._credentials = credentials
        #: The time in Unix seconds; that of a simulated server can replace it.
        self.clock = clock
        self._cache: PageCache | None = None
        if settings.cache_dir is not None:
            secret = credentials.fingerprint("the seal of what is on disk").encode()
            self._cache = PageCache(settings.cache_dir, secret, lambda: self.clock())  # noqa: PLW0108 (it may change)
        self._limiter = limiter_of(self.budget)
        self._pool = SessionPool(
            partial(ApiSession, settings.base_url, self._sign, credentials.scrub)
        )
        self._retries = RetryPolicy(settings.retries, settings.max_wait)

    def get(
        self,
        path: str,
        params: dict[str, str],
        *,
        since: float = 0.0,
        offline: bool = False,
        expires: float | None = None,
        store: bool = True,
        check: Check | None = None,
        observer: Observer = _SILENT,
    ) -> PageResponse:
        """Return one page, from disk or, unless `offline`, from the server.

        A page on disk is taken if it passes `check`, has not expired, and was fetched at `since`
        (Unix seconds) or later. One that continues a listing is taken if it expires with it, at
        `expires`: the pages of one day are never followed by those of the next. At a `since` of
        infinity, none is taken. Without `store`, a response is neither stored nor quoted in errors.
        """
        key = self._key(path, params)
        cached = self._cache.read(key) if self._cache is not None and since < math.inf else None
        if cached is not None and self._is_current(cached, expires, since):
            envelope = _checked(cached.body, check)
            if not isinstance(envelope, ResponseError):
                return PageResponse(cached, self._scrubbed(envelope), from_cache=True)
            if offline:
                raise envelope
        if offline:
            raise OfflineMissError(
                "offline=True, and a page of this listing is not on disk (never read with this "
                "connection and these filters, or expired); fetch it once with offline=False"
            )
        reply, envelope = self._retries.run(
            partial(self._request, path, params, check, observer, quote=store),
            partial(self._wait, observer),
        )
        now = self.clock()
        expires = now + self.settings.expire_after if expires is None else expires
        server_time = read_date(reply.headers.get("Date", ""))
        page = StoredPage(key, reply.body, now, expires, server_time)
        # A server that echoes the request would have the credentials stored.
        if self._cache is not None and store and not self._credentials.are_in(reply.body):
            self._cache.write(page)
        return PageResponse(page, self._scrubbed(envelope), from_cache=False)

    def fingerprint(self, text: str) -> str:
        """Hash a text with the credentials as the key."""
        return self._credentials.fingerprint(text)

    def mark_started(self, work: str, *, restart: bool = False) -> float:
        """Return when unfinished work was started: now, if it is new, or if `restart`."""
        now = self.clock()
        if self._cache is None:
            return now
        key = self.fingerprint(f"the beginning of {work}")
        page = None if restart else self._cache.read(key)
        if page is not None and page.fetched <= now < page.expires:
            return page.fetched
        self._cache.write(StoredPage(key, b"", now, now + self.settings.expire_after))
        return now

    def mark_finished(self, work: str) -> None:
        """Forget that work was started."""
        if self._cache is not None:
            self._cache.delete(self.fingerprint(f"the beginning of {work}"))

    def cooldown(self) -> float:
        """Return the seconds after which another process may use the token as if it were unused."""
        return self._limiter.cooldown()

    def close(self) -> None:
        """Close the connections and the cache."""
        self._pool.close()
        if self._cache is not None:
            self._cache.close()

    def __repr__(self) -> str:
        return f"Session({self.settings.base_url!r})"

    def _key(self, path: str, params: dict[str, str]) -> str:
        """Return a page's key in the cache, which reveals nothing."""
        query = urlencode(sorted(params.items()))
        return self.fingerprint(f"{self.settings.base_url}{path}?{query}")

    def _is_current(self, page: StoredPage, expires: float | None, since: float) -> bool:
        now = self.clock()
        if page.fetched > now:  # by a clock that was ahead: its age is unknown
            return False
        if expires is not None:
            return page.expires == expires
        expiry = min(page.expires, page.fetched + self.settings.expire_after)
        return page.fetched >= since and expiry > now

    def _scrubbed(self, envelope: Envelope) -> Envelope:
        scrub = self._credentials.scrub
        if envelope.other_members:  # it goes to `problems`, and may echo the request
            scrubbed = {scrub(name): scrub(text) for name, text in envelope.other_members.items()}
            envelope = msgspec.structs.replace(envelope, other_members=scrubbed)
        token = envelope.next_token
        if isinstance(token, str) and scrub(token) != token:  # tracebacks show cursors
            envelope = msgspec.structs.replace(envelope, next_token=Masked.of(token))
        return envelope

    def _wait(
        self, observer: Observer, error: TrackstarError, attempt: int, seconds: float
    ) -> None:
        _log.info("waiting %.1f s before another attempt: %s", seconds, error)
        if isinstance(error, RateLimitError):
            self._limiter.pause(seconds)  # other threads would only be refused as well
        observer.wait(f"before attempt {attempt + 1}", seconds)

    def _request(
        self,
        path: str,
        params: dict[str, str],
        check: Check | None,
        observer: Observer,
        *,
        quote: bool,
    ) -> tuple[Reply, Envelope]:
        reply = self._send(path, params, observer)
        if not isinstance(reply, Reply):
            raise reply
        scrub = self._credentials.scrub
        if reply.status != HTTPStatus.OK:
            raise error_for(
                reply.status,
                reply.body,
                request_id=reply.headers.get("X-Request-Id"),
                retry_after=requested_wait(reply.headers),
                scrub=scrub,
                quote=quote,
                not_followed=reply.not_followed,
            )
        envelope = _checked(reply.body, check, scrub if quote else None)
        if isinstance(envelope, ResponseError):
            envelope.status = reply.status
            if quote:
                envelope.request_id = plain(scrub(reply.headers.get("X-Request-Id", ""))) or None
            raise envelope
        return reply, envelope

    def _send(self, path: str, params: dict[str, str], observer: Observer) -> Reply | BaseException:
        """Send, and return an error rather than raise it.

        The frames below hold the headers in clear; an exception raised here, or chained to one
        from there, would carry them into every traceback that shows locals.
        """
        slots: list[Slot] = []

        def acquire() -> None:
            slots.append(self._limiter.acquire(self.settings.rate_limit, observer.wait))
            observer.on_request(slots[-1].left)

        url, timeout = self.settings.base_url + path, self.settings.timeout
        try:
            with self._pool.lend() as session:
                reply = session.fetch(url, params, timeout, acquire)
            self._limiter.observe(reply.headers, slots[-1])
            return reply  # noqa: TRY300  (what `observe` raises is returned as well)
        except transport.FAULTS as error:
            return transport.network_error(error, self.settings.base_url, self._credentials.scrub)
        except BaseException as error:  # noqa: BLE001  (returned, without those frames)
            error.__context__ = error.__cause__ = None
            return error.with_traceback(None)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["x-trackstar-api-key"] = self._credentials.api_key
        request.headers["x-trackstar-access-token"] = self._credentials.access_token
        return request


def _checked(
    body: bytes, check: Check | None, scrub: Callable[[str], str] | None = None
) -> Envelope | ResponseError:
    """Read a response, and return an error without the frames that hold the body."""
    try:
        envelope = read_envelope(body, scrub)
        if check is not None:
            check(envelope)
    except ResponseError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)
    return envelope
