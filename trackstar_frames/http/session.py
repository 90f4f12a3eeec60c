"""One connection's HTTP: credentials, cache, limiter, retry.

For each request, in this order: the cache; then, for each try, the limiter and the
network; then the check of the answer; then the cache again. An answer is counted and kept
only when it is whole.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
import requests

from trackstar_frames._text import plain
from trackstar_frames.errors import (
    NetworkError,
    OfflineMissError,
    RateLimitError,
    ResponseError,
    TrackstarError,
)
from trackstar_frames.http import transport
from trackstar_frames.http.cache import PageCache, Stored
from trackstar_frames.http.rate_limit import Place, limiter_of
from trackstar_frames.http.responses import Envelope, error_for, read_envelope
from trackstar_frames.http.retry import RetryPolicy, read_date, requested_wait
from trackstar_frames.http.transport import ApiSession, Reply, SessionPool
from trackstar_frames.settings import Credentials, Masked, Settings

__all__ = ["Answer", "Observer", "Session"]


_log = logging.getLogger("trackstar_frames")


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer.

    Attributes
    ----------
    body : bytes
        As the server sent it, decompressed.
    envelope : Envelope
        The same, checked and cut into orders.
    fetched_at : datetime.datetime
        When the server answered, UTC.
    expires : float
        When the cache lets go of it, in Unix seconds.
    from_cache : bool
        Whether it came from disk.
    server_time : datetime.datetime or None
        When the server answered by its own clock (the header ``Date``), UTC.
    """

    body: bytes = field(repr=False)
    envelope: Envelope = field(repr=False)
    fetched_at: datetime
    expires: float
    from_cache: bool
    server_time: datetime | None


class Observer:
    """Whom a session tells what it does, and who waits for it; this one keeps silent."""

    def sent(self, left: int | None) -> None:
        """Hear that a request leaves; so many more may follow at once (None: no limit)."""

    def wait(self, why: str, seconds: float) -> None:  # noqa: ARG002  (others show it)
        """Wait so long; may raise, to leave the request."""
        time.sleep(seconds)


_SILENT = Observer()


class Session:
    """GET requests of one connection; safe to use from several threads, and after a fork.

    Parameters
    ----------
    settings, credentials
        Checked before.
    """

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self.settings = settings
        self._credentials = credentials
        seal = credentials.fingerprint("the seal of what is on disk").encode()
        self._cache = None if settings.cache_dir is None else PageCache(settings.cache_dir, seal)
        #: Names the budget of requests, and with it the token, without telling it.
        self.budget = credentials.fingerprint(f"the budget of {settings.base_url}")
        self._limiter = limiter_of(self.budget)
        self._browsers = SessionPool(self._open_browser)
        self._retries = RetryPolicy(settings.retries, settings.max_wait)

    def get(
        self,
        path: str,
        params: dict[str, str],
        *,
        since: float = 0.0,
        offline: bool = False,
        chain: float | None = None,
        store: bool = True,
        check: Callable[[Envelope], object] = bool,
        observer: Observer = _SILENT,
    ) -> Answer:
        """Get one page, from disk or from the server.

        Parameters
        ----------
        path, params
            What to ask for.
        since
            Pages that the server gave before this time (Unix seconds) are asked for anew.
        offline
            Ask the disk only.
        chain
            The expiry of the listing that this page continues. A page on disk belongs to
            the listing if it expires with it; all pages of a listing expire together, so
            that the head of one day is never joined to the tail of another.
        store
            Whether what the server says may be kept: its answer on disk, its words in errors.
        check
            Raises ResponseError for an answer that is whole but cannot be, before it is kept;
            one on disk is then asked for again.
        watch
            Is told of requests and waits.

        Raises
        ------
        OfflineMissError
            If `offline`, and the page is not on disk.
        ApiError, NetworkError, ResponseError
            If the server gives no whole answer, after the tries that the settings allow.
        """
        key = self._key(path, params)
        found = self._look_up(key, chain, since, check, offline=offline)
        if found is not None:
            return found
        if offline:
            raise OfflineMissError(
                "offline=True, and a page of this listing is not on disk (never read with this "
                "connection and these filters, or expired); fetch it once with offline=False"
            )
        reply, envelope = self._retries.run(
            partial(self._ask, path, params, check, observer, quote=store),
            partial(self._wait, observer),
        )
        fetched = time.time()
        expires = fetched + self.settings.expire_after if chain is None else chain
        server_time = read_date(reply.headers.get("Date", ""))
        # A server that repeats what was sent would put it on disk.
        if self._cache is not None and store and not self._credentials.are_in(reply.body):
            self._cache.write(key, reply.body, fetched, expires, server_time)
        stored = Stored(key, reply.body, fetched, expires, server_time)
        return self._answer(stored, envelope, from_cache=False)

    def fingerprint(self, text: str) -> str:
        """Hash a text under the credentials: without them it is neither found nor made."""
        return self._credentials.fingerprint(text)

    def began(self, work: str, *, anew: bool = False) -> float:
        """Tell when a piece of work was begun that was not ended: now, unless it is on disk.

        Parameters
        ----------
        work
            What tells it from others.
        anew
            Begin it now, whatever is on disk.
        """
        now = time.time()
        if self._cache is None:
            return now
        key = self._credentials.fingerprint(f"the beginning of {work}")
        stored = None if anew else self._cache.read(key)
        if stored is not None and stored.fetched <= now < stored.expires:
            return stored.fetched
        self._cache.write(key, b"", now, now + self.settings.expire_after)
        return now

    def ended(self, work: str) -> None:
        """Forget that a piece of work was begun."""
        if self._cache is not None:
            self._cache.delete(self._credentials.fingerprint(f"the beginning of {work}"))

    def cooldown(self) -> float:
        """Tell in how many seconds another process may use the token as if this one had not."""
        return self._limiter.cooldown()

    def close(self) -> None:
        """Close the connections and the cache."""
        self._browsers.close()
        if self._cache is not None:
            self._cache.close()

    def __repr__(self) -> str:
        return f"Session({self.settings.base_url!r})"

    def _look_up(
        self,
        key: str,
        chain: float | None,
        since: float,
        check: Callable[[Envelope], object],
        *,
        offline: bool,
    ) -> Answer | None:
        stored = self._cache.read(key) if self._cache is not None and since < math.inf else None
        if stored is None or not self._belongs(stored, chain, since):
            return None
        envelope = _checked(stored.body, check)
        if isinstance(envelope, ResponseError):
            if offline:
                raise envelope
            return None
        return self._answer(stored, envelope, from_cache=True)

    def _answer(self, stored: Stored, envelope: Envelope, *, from_cache: bool) -> Answer:
        known, scrub = stored.server_time, self._credentials.scrub
        if envelope.beside:  # it goes to `problems`, and may repeat what was sent
            scrubbed = {scrub(name): scrub(text) for name, text in envelope.beside.items()}
            envelope = msgspec.structs.replace(envelope, beside=scrubbed)
        token = envelope.next_token
        if isinstance(token, str) and scrub(token) != token:  # tracebacks show cursors
            envelope = msgspec.structs.replace(envelope, next_token=Masked.of(token))
        return Answer(
            body=stored.body,
            envelope=envelope,
            fetched_at=datetime.fromtimestamp(stored.fetched, UTC),
            expires=stored.expires,
            from_cache=from_cache,
            server_time=None if known is None else datetime.fromtimestamp(known, UTC),
        )

    def _belongs(self, stored: Stored, chain: float | None, since: float) -> bool:
        now = time.time()
        if stored.fetched > now:  # by a clock that was ahead: how old it is, nobody knows
            return False
        if chain is not None:
            return stored.expires == chain
        if stored.fetched < since:
            return False
        return min(stored.expires, stored.fetched + self.settings.expire_after) > now

    def _key(self, path: str, params: dict[str, str]) -> str:
        """Name an answer so that only the same credentials find it, and none can be read off."""
        asked = urlencode(sorted(params.items()))
        return self._credentials.fingerprint(f"{self.settings.base_url}{path}?{asked}")

    def _wait(
        self, observer: Observer, error: TrackstarError, attempt: int, seconds: float
    ) -> None:
        _log.info("waiting %.1f s before another try: %s", seconds, error)
        if isinstance(error, RateLimitError):
            self._limiter.pause(seconds)  # the other threads would only be told the same
        observer.wait(f"before try {attempt + 1}", seconds)

    def _ask(
        self,
        path: str,
        params: dict[str, str],
        check: Callable[[Envelope], object],
        observer: Observer,
        *,
        quote: bool,
    ) -> tuple[Reply, Envelope]:
        answer = self._send(path, params, observer)
        if isinstance(answer, BaseException):
            raise answer
        if answer.status != HTTPStatus.OK:
            raise self._refusal(answer, quote=quote)
        envelope = _checked(answer.body, check, self._credentials.scrub if quote else None)
        if isinstance(envelope, ResponseError):
            envelope.status = answer.status
            envelope.request_id = self._request_id(answer) if quote else None
            raise envelope
        return answer, envelope

    def _send(self, path: str, params: dict[str, str], observer: Observer) -> Reply | BaseException:
        """Send, and hand a fault back rather than raise it.

        The frames below hold the headers in clear; an exception raised here, or chained to
        one from there, would carry them into every traceback that shows locals.
        """
        try:
            with self._browsers.lend() as browser:
                return self._get(browser, self.settings.base_url + path, params, observer)
        except transport.FAULTS as error:
            reason = self._credentials.scrub(transport.reason(error))[:500]
            return NetworkError(
                f"no whole answer from {self.settings.base_url}: {reason}{transport.advice(error)}",
                retryable=transport.is_transient(error),
            )
        except BaseException as error:  # noqa: BLE001  (handed on, without those frames)
            error.__context__ = error.__cause__ = None
            return error.with_traceback(None)

    def _refusal(self, answer: Reply, *, quote: bool) -> TrackstarError:
        return error_for(
            answer.status,
            answer.body,
            request_id=self._request_id(answer),
            retry_after=requested_wait(answer.headers),
            scrub=self._credentials.scrub,
            quote=quote,
            astray=answer.astray,
        )

    def _request_id(self, answer: Reply) -> str | None:
        given = answer.headers.get("X-Request-Id")
        return None if given is None else plain(self._credentials.scrub(given))

    def _get(
        self, browser: ApiSession, url: str, params: dict[str, str], observer: Observer
    ) -> Reply:
        places: list[Place] = []

        def turn() -> None:
            places.append(self._limiter.turn(self.settings.rate_limit, observer.wait))
            observer.sent(places[-1].left)

        browser.turn = turn
        answer = transport.get(browser, url, params, self.settings.timeout)
        self._limiter.observe(answer.headers, places[-1])
        return answer

    def _open_browser(self) -> ApiSession:
        # A proxy would read plain http, which is allowed on loopback only.
        url = self.settings.base_url
        is_secure = url.startswith("https:")
        return ApiSession(url, self._sign, self._credentials.scrub, trust_env=is_secure)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["x-trackstar-api-key"] = self._credentials.api_key
        request.headers["x-trackstar-access-token"] = self._credentials.access_token
        return request


def _checked(
    body: bytes,
    check: Callable[[Envelope], object],
    scrub: Callable[[str], str] | None = None,
) -> Envelope | ResponseError:
    """Read an answer, and hand a fault back without the frames that hold the body.

    Its own words are quoted scrubbed, or not at all.
    """
    try:
        envelope = read_envelope(body, scrub)
        check(envelope)
    except ResponseError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)
    return envelope
