"""`TrackstarClient`: one connection, with its credentials, cache and rate limit."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeAlias, Unpack

from trackstar_frames import errors
from trackstar_frames._text import card, table
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.filters import encode
from trackstar_frames.http.cache import PageCache
from trackstar_frames.http.session import Session
from trackstar_frames.pagination.pages import MAX_PAGE, Page, PageReader
from trackstar_frames.settings import Credentials, Masked, Settings, check_int, check_source

#: The name of the environment variable that holds a token, or a function that returns it.
Source: TypeAlias = str | Callable[[], str]
Connections: TypeAlias = Mapping[str, Source]

_EXAMPLE = "{'acme': 'ACME_TOKEN'}"


class TrackstarClient:
    """Client of the Trackstar API for one connection of one organisation.

    A connection is one customer's warehouse system; each has its own access token, and its own
    rate limit. Where an argument is None, its environment variable is read. Credentials are sent
    and never shown: a client cannot be pickled, and its repr, logs, errors and cache hold none. A
    client may be used from several threads.

    Parameters
    ----------
    api_key
        Key of the organisation (``TRACKSTAR_API_KEY``).
    access_token
        Token of the connection (``TRACKSTAR_ACCESS_TOKEN``).
    base_url
        URL of the API (``TRACKSTAR_BASE_URL``, else the production API). Plain http is allowed
        on loopback only.
    connection
        Label of the data; never a secret.
    cache
        Whether to keep responses on disk, separately for each token and readable by you only. They
        contain names and addresses.
    cache_dir
        Folder of the cache (``TRACKSTAR_CACHE_DIR``, else your user's cache folder).
    expire_after
        Seconds until a response expires and is deleted: by default an hour, as Trackstar's own
        copy is refreshed hourly.
    rate_limit
        Requests per second; None for no limit. The API allows ten per access token, which all
        clients of the token in one process share.
    timeout
        Seconds to wait for a response.
    retries
        How often to retry a request: after 408, 425, 429, a fault of the server (5xx but 501), or
        no complete response. Other errors are not retried.
    max_wait
        Seconds to wait for one page, in all. A longer ``Retry-After`` raises at once.

    Raises
    ------
    SettingsError, CredentialsError
        If an option is invalid.

    Examples
    --------
    >>> client = TrackstarClient("key", "token", connection="acme", cache=False)
    >>> client
    TrackstarClient('https://production.trackstarhq.com', connection='acme', cache=False)
    """

    def __init__(
        self,
        api_key: str | None = None,
        access_token: str | None = None,
        *,
        base_url: str | None = None,
        connection: str | None = None,
        cache: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        expire_after: float = 3600,
        rate_limit: int | None = 10,
        timeout: float = 30,
        retries: int = 5,
        max_wait: float = 30,
    ) -> None:
        # From here on, no traceback that shows locals can show a secret.
        api_key, access_token = Masked.of(api_key), Masked.of(access_token)
        self.settings = Settings.resolve(
            base_url=base_url,
            connection=connection,
            cache=cache,
            cache_dir=cache_dir,
            expire_after=expire_after,
            rate_limit=rate_limit,
            timeout=timeout,
            retries=retries,
            max_wait=max_wait,
        )
        self.session = Session(self.settings, Credentials.resolve(api_key, access_token))

    @property
    def connection(self) -> str | None:
        """Label of the data."""
        return self.settings.connection

    def identify(self, text: str) -> str:
        """Hash a text together with the connection's label or, if there is none, with its token.

        Parameters
        ----------
        text
            Text to hash.

        Returns
        -------
        str
            The hash: equal for all clients of this label or, without a label, of this token.

        Examples
        --------
        >>> one, other = (TrackstarClient("key", "token", connection=name) for name in "ab")
        >>> one.identify("same") == other.identify("same")
        False
        """
        if self.connection is None:
            return self.session.fingerprint(text)
        return identify(self.connection, text)

    def iter_pages(
        self,
        page_token: str | None = None,
        *,
        page_size: int = MAX_PAGE,
        refresh: bool = False,
        offline: bool = False,
        extra_params: Mapping[str, Any] | None = None,
        **filters: Unpack[OrderFilters],
    ) -> Iterator[Page]:
        """Iterate over pages of orders, as the server sends them.

        Each page is whole, and the last one is the end of its listing; nothing more is checked.
        Orders that change meanwhile may be missing or duplicated, and an expired cursor is an
        error. `fetch_orders` handles both.

        Parameters
        ----------
        page_token
            Cursor to start from; only for filters that need one listing.
        page_size
            Orders per page, 1 to 1000.
        refresh
            Request every page from the server, even if it is on disk.
        offline
            Read from disk only.
        extra_params
            Query parameters that are not filters; they are sent unchanged.
        **filters
            As for `fetch_orders_df`.

        Returns
        -------
        iterator of Page
            `.orders` (dicts), `.body`, `.next_token`, `.from_cache`, `.fetched_at`.

        Raises
        ------
        FilterError
            Before any request, if a filter is invalid.
        TrackstarError
            From the iterator, if a page cannot be fetched.

        Examples
        --------
        >>> from trackstar_frames.sandbox import Sandbox
        >>> with Sandbox(orders=50) as sandbox, sandbox.client(cache=False) as client:
        ...     [len(page.orders) for page in client.iter_pages(page_size=20)]
        [20, 20, 10]
        """
        page_size = check_int("page_size", page_size, low=1, high=MAX_PAGE)
        check_source(refresh=refresh, offline=offline, cache=self.settings.cache)
        queries = encode(filters, extra_params)
        if page_token is not None and not (isinstance(page_token, str) and page_token):
            raise errors.FilterError(
                f"page_token={page_token!r} must be a next_token (str), or None"
            )
        if page_token is not None and len(queries) > 1:
            raise errors.FilterError(
                f"page_token continues one listing, and these filters need {len(queries)}"
            )
        reader = PageReader(
            self.session, page_size=page_size, since=math.inf if refresh else 0.0, offline=offline
        )
        before = 0 if page_token is None else None
        return (
            page
            for query in queries
            for page in _check_total(
                reader.read(query, page_token=page_token, orders_before=before),
                is_whole=page_token is None,
            )
        )

    def close(self) -> None:
        """Close connections and the cache file; a later call opens them again.

        Examples
        --------
        >>> with TrackstarClient("key", "token") as client:  # closes it at the end
        ...     client.connection is None
        True
        """
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> Any:
        raise errors.CredentialsError(
            "a client is not pickled or copied, as it holds credentials; "
            "build the client where it is used, from the environment"
        )

    def __repr__(self) -> str:
        if not hasattr(self, "settings"):  # in a traceback of `__init__`
            return "TrackstarClient(?)"
        cache = str(self.settings.cache_dir) if self.settings.cache else False
        return (
            f"TrackstarClient({self.settings.base_url!r}, "
            f"connection={self.settings.connection!r}, cache={cache!r})"
        )

    def _repr_html_(self) -> str:
        return card("TrackstarClient", table(("option", "value"), _options(self.settings).items()))


def identify(connection: str, text: str) -> str:
    """Hash a text together with a connection's label."""
    return hashlib.sha256(f"{connection}\0{text}".encode()).hexdigest()


def check_connections(connections: object) -> dict[str, Source]:
    """Check what a user passes as `connections`, and sort it by label."""
    if not isinstance(connections, Mapping) or not connections:
        raise errors.SettingsError(
            f"connections must map labels to the names of environment variables that hold their "
            f"tokens, or to functions that return them, such as {_EXAMPLE}; it is "
            f"{'empty' if isinstance(connections, Mapping) else type(connections).__name__}"
        )
    for label, source in connections.items():
        if not (isinstance(label, str) and label.strip() == label != ""):
            raise errors.SettingsError(
                f"connections: the label {label!r} must be a str, as in {_EXAMPLE}"
            )
        if not (callable(source) or (isinstance(source, str) and source)):
            raise errors.SettingsError(
                f"connections[{label!r}] must be the name of an environment variable (str), or a "
                f"function that returns the token, not {type(source).__name__}"
            )
    return dict(sorted(connections.items()))


def open_clients(connections: Mapping[str, Source]) -> dict[str, TrackstarClient]:
    """Open a client for each connection, with its token, and all else from the environment."""
    clients: dict[str, TrackstarClient] = {}
    owners: dict[str, str] = {}
    for label, source in connections.items():
        clients[label] = client = open_client(label, source)
        other = owners.setdefault(client.session.budget, label)
        if other != label:
            raise errors.SettingsError(
                f"connections: {other!r} and {label!r} have the same token, so their orders would "
                f"be fetched twice; give each its own, or leave one out"
            )
    return clients


def open_client(label: str, source: Source) -> TrackstarClient:
    """Open the client of one connection; errors never show the source, which may be a token."""
    return TrackstarClient(access_token=_token(label, source), connection=label)


def _check_total(pages: Iterator[Page], *, is_whole: bool) -> Iterator[Page]:
    """Raise at the end of a listing that has fewer orders than the server counts."""
    received, total = 0, None
    for page in pages:
        received += len(page.raw_orders)
        if page.total_count is not None:
            total = min(page.total_count, page.total_count if total is None else total)
        yield page
    if is_whole and total is not None and total > received:
        raise errors.ResponseError(
            f"the server counts {total:,} orders in the listing (its total_count), and sent "
            f"{received:,} of them",
            retryable=True,
        )


def _options(settings: Settings) -> dict[str, str]:
    """Describe the options of a client, which hold no credential."""
    rate, cache = settings.rate_limit, "none: nothing is kept on disk"
    if settings.cache_dir is not None:
        size = PageCache(settings.cache_dir).size() / 1e6
        cache = (
            f"{settings.cache_dir}: {size:,.2f} MB of all clients; "
            f"a response is deleted after {settings.expire_after:,g} s"
        )
    return {
        "base URL": settings.base_url,
        "connection": settings.connection or "no label",
        "cache": cache,
        "rate": "no limit" if rate is None else f"{rate:,} requests a second, per access token",
        "timeout and retries": (
            f"{settings.timeout:g} s for a response, {settings.retries:,} retries, "
            f"{settings.max_wait:g} s of waiting for a page"
        ),
    }


def _token(label: str, source: Source) -> Masked:
    if isinstance(source, str):
        token: Masked = Masked.of(os.environ.get(source, ""))
        if token:
            return token
        raise errors.CredentialsError(
            f"connections[{label!r}] names an environment variable that is not set or empty; "
            f"it must be the variable's name, and not the token itself"
        )
    try:
        token = Masked.of(source())
    except errors.TrackstarError:
        raise
    except Exception as error:  # noqa: BLE001  (raised below, not chained)
        problem = (
            f"raised {type(error).__name__}, whose message is not shown, as it may contain the "
            f"token; call the function itself to read it"
        )
    else:
        if isinstance(token, Masked) and token:
            return token
        kind = "an empty text" if isinstance(token, Masked) else type(token).__name__
        problem = f"must return the token (str), and returned {kind}"
    raise errors.CredentialsError(f"connections[{label!r}]: its function {problem}")
