"""The sandbox: the endpoint on loopback, with its data and its credentials."""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from trackstar_frames.sandbox.changes import Changes
from trackstar_frames.sandbox.checks import check_choice, check_index, check_numbers, check_time
from trackstar_frames.sandbox.database import LISTING_ORDERS
from trackstar_frames.sandbox.endpoint import Connection, Endpoint, Manners
from trackstar_frames.sandbox.faults import Fault, FaultPlan
from trackstar_frames.sandbox.limits import RateLimit
from trackstar_frames.sandbox.log import Request, RequestLog
from trackstar_frames.sandbox.source import Recipe, Source
from trackstar_frames.sandbox.transport import Server

if TYPE_CHECKING:
    from trackstar_frames.client import TrackstarClient


class Sandbox:
    """A server of ``GET /wms/orders`` on this machine, with made-up orders.

    A context manager; or call `start` and `stop`. Every access token is a connection of its own,
    with other orders and a budget of its own. Stopping forgets the data; starting again makes
    them anew.

    Parameters
    ----------
    orders
        How many orders each token has; or the orders themselves, which are served as they are.
    seed
        The same seed and the same `now` give the same orders.
    tokens
        How many access tokens.
    rate_limit
        Requests per second and token; None is without limit.
    latency
        Seconds before every answer.
    faults
        What goes wrong, and when: see `Fault`.
    now
        The time up to which orders have happened, aware; the current hour by default.
    days
        How many days before `now` the first orders were created.
    odd
        The share of orders with values that real integrations send and the documentation does
        not promise: numbers for strings, strings for numbers, unknown keys, older shapes.
    order
        The order of a listing, which is undocumented: ``"inserted"`` (of no meaning),
        ``"reversed"``, ``"id"``, ``"created_date"``, ``"created_date_desc"``, ``"updated_date"``
        or ``"updated_date_desc"``.
    total_count
        Whether ``total_count`` counts the ``"page"`` or the ``"total"``.
    gzip
        Whether bodies are compressed for clients that accept it.
    rate_headers
        What the names of the rate headers begin with: ``"x-ratelimit"`` or ``"x-rate-limit"``.
        None sends none of them, and over the limit a 429 without ``retry-after``.
    trackstar_dates
        Whether orders have ``trackstar_created_date`` and ``trackstar_updated_date``. False leaves
        them out of every order, and answers filters on them with 422, as some integrations do.
    port
        The port; 0 takes a free one.

    Examples
    --------
    >>> with Sandbox(orders=10, seed=1) as sandbox:
    ...     len(sandbox.orders)
    10
    """

    def __init__(  # noqa: PLR0917 -- all but the first have a default that does for most
        self,
        orders: int | Sequence[Mapping[str, Any]] = 5000,
        seed: int = 0,
        tokens: int = 1,
        rate_limit: int | None = 10,
        latency: float = 0.0,
        faults: Sequence[Fault] | None = None,
        *,
        now: datetime | None = None,
        days: int = 180,
        odd: float = 0.0,
        order: str = "inserted",
        total_count: str = "page",
        gzip: bool = False,
        rate_headers: str | None = "x-ratelimit",
        trackstar_dates: bool = True,
        port: int = 0,
    ) -> None:
        check_numbers(orders=orders, tokens=tokens, rate_limit=rate_limit)
        check_numbers(latency=latency, days=days, odd=odd, port=port)
        check_time(now)
        check_choice("order", order, tuple(LISTING_ORDERS))
        check_choice("total_count", total_count, ("page", "total"))
        check_choice("rate_headers", rate_headers, ("x-ratelimit", "x-rate-limit", None))
        now = now or datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self._recipe = Recipe(orders, seed, now, days, odd, order, trackstar_dates)
        self._rate_limit = rate_limit
        self._latency = latency
        self._faults = tuple(faults or ())
        self._manners = Manners(total_count, rate_headers, gzip, self._recipe.without)
        self._port = port
        self._log = RequestLog()
        self._sources: list[Source] = []
        self._server: Server | None = None
        self.api_key, *self.access_tokens = _secrets(seed, tokens + 1)

    @property
    def access_token(self) -> str:
        """The first access token."""
        return self.access_tokens[0]

    @property
    def base_url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self._running().server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this server reads from the environment; a variable for each token."""
        return {
            "TRACKSTAR_BASE_URL": self.base_url,
            "TRACKSTAR_API_KEY": self.api_key,
            "TRACKSTAR_ACCESS_TOKEN": self.access_token,
            **dict(zip(self.connections.values(), self.access_tokens, strict=True)),
        }

    @property
    def connections(self) -> dict[str, str]:
        """A label for each token, and the variable of `environment` that holds it.

        Examples
        --------
        >>> Sandbox(tokens=2).connections
        {'customer-0': 'SANDBOX_TOKEN_0', 'customer-1': 'SANDBOX_TOKEN_1'}
        """
        width = len(str(len(self.access_tokens) - 1))
        numbers = [f"{number:0{width}}" for number in range(len(self.access_tokens))]
        return {f"customer-{number}": f"SANDBOX_TOKEN_{number}" for number in numbers}

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders of the first token, exactly as the API gives them, read anew each time."""
        return self.orders_of(0)

    @property
    def requests(self) -> list[Request]:
        """What was asked since `start`, in the order of arrival."""
        return self._log.all()

    def orders_of(self, token: int) -> list[dict[str, Any]]:
        """Return the orders of the token of this index.

        Parameters
        ----------
        token
            The index of the access token.

        Returns
        -------
        list of dict
            Exactly as the API gives them, read anew each time.

        Examples
        --------
        >>> with Sandbox(orders=10, tokens=2) as sandbox:
        ...     first, second = sandbox.orders_of(0), sandbox.orders_of(1)
        >>> len(first), {order["id"] for order in first} & {order["id"] for order in second}
        (10, set())
        """
        return self._source(token).database.all()

    def now_of(self, token: int = 0) -> datetime:
        """Return the time up to which the orders of the token have happened.

        Parameters
        ----------
        token
            The index of the access token.

        Returns
        -------
        datetime.datetime
            UTC.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     before = sandbox.now_of()
        ...     _ = sandbox.advance(hours=24)
        ...     print(sandbox.now_of() - before)
        1 day, 0:00:00
        """
        return self._source(token).now

    def upsert(self, orders: Iterable[Mapping[str, Any]], token: int = 0) -> None:
        """Change the orders whose id the token has, and add the others.

        Parameters
        ----------
        orders
            As the API gives them.
        token
            The index of the access token.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.upsert([{"id": "mine", "status": "open"}])
        ...     len(sandbox.orders)
        11
        """
        self._source(token).database.upsert(orders)

    def delete(self, ids: Iterable[str], token: int = 0) -> None:
        """Remove the orders of these ids from the token's.

        Parameters
        ----------
        ids
            Of the orders; unknown ones are passed over.
        token
            The index of the access token.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.delete([sandbox.orders[0]["id"]])
        ...     len(sandbox.orders)
        9
        """
        self._source(token).database.delete(ids)

    def advance(
        self,
        hours: float = 24.0,
        *,
        new: int | None = None,
        late: float = 0.05,
        seed: int | None = None,
        token: int = 0,
    ) -> Changes:
        """Let time pass for one token: orders come, go on, leave, and change otherwise.

        The same sandbox and the same calls give the same orders; given ones change as far as they
        can be read. An answer shows the orders of before or of after, never some of both.

        Parameters
        ----------
        hours
            How long, from a hundredth of an hour to 10,000.
        new
            How many orders come; by default about as many as came in such a time before.
        late
            The share of new and changed orders that arrive late: their ``updated_date``, and the
            ``created_date`` of new ones, lies hours to days before these hours, though Trackstar
            saw them within. What last changed in the hour before them is never late.
        seed
            Another seed gives other changes; by default the sandbox's own.
        token
            The index of the access token.

        Returns
        -------
        Changes
            The ids of the orders that came, and of those that changed, and how.

        Raises
        ------
        ValueError
            If an argument is out of its bounds.

        Examples
        --------
        >>> with Sandbox(orders=1000, seed=1) as sandbox:
        ...     changes = sandbox.advance(hours=6, new=3)
        ...     len(changes.new), len(sandbox.orders)
        (3, 1003)
        """
        check_index("token", token, len(self.access_tokens))
        return self._source(token).advance(hours, new, late, seed)

    def client(self, token: int = 0, **kwargs: Any) -> "TrackstarClient":
        """Return a client of this server for the token of this index.

        Parameters
        ----------
        token
            The index of the access token.
        **kwargs
            Passed on to `TrackstarClient`.

        Returns
        -------
        TrackstarClient
            With this server's address and credentials.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.client(connection="demo", cache=False).connection
        'demo'
        """
        from trackstar_frames.client import TrackstarClient  # noqa: PLC0415 -- else no sharing

        check_index("token", token, len(self.access_tokens))
        own = {
            "api_key": self.api_key,
            "access_token": self.access_tokens[token],
            "base_url": self.base_url,
        }
        return TrackstarClient(**(own | kwargs))

    def start(self) -> Self:
        """Make the orders and start to serve them.

        Returns
        -------
        Sandbox
            This one.

        Raises
        ------
        RuntimeError
            If it runs already.

        Examples
        --------
        >>> sandbox = Sandbox(orders=10).start()
        >>> len(sandbox.orders)
        10
        >>> sandbox.stop()
        """
        if self._server is not None:
            raise RuntimeError("the sandbox runs already; stop() it first")
        self._folder = TemporaryDirectory(prefix="trackstar-sandbox-")
        try:
            self._sources = [self._make(index) for index in range(len(self.access_tokens))]
            self._log = RequestLog()
            self._server = Server(self._port, self._endpoint(), self._log, self._latency)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def stop(self) -> None:
        """Stop serving and forget the data; on a stopped sandbox, do nothing.

        Examples
        --------
        >>> sandbox = Sandbox(orders=10).start()
        >>> sandbox.stop()
        >>> sandbox
        <Sandbox stopped: 10 orders, tokens: 1>
        """
        if self._server is not None:
            self._server.stop()
            self._folder.cleanup()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "stopped" if self._server is None else self.base_url
        given = self._recipe.orders
        count = given if isinstance(given, int) else len(given)
        return f"<Sandbox {where}: {count:,} orders, tokens: {len(self.access_tokens)}>"

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the sandbox is not running; start() it or use it in a with block")
        return self._server

    def _source(self, token: int) -> Source:
        self._running()
        check_index("token", token, len(self._sources))
        return self._sources[token]

    def _make(self, index: int) -> Source:
        return Source(Path(self._folder.name) / f"{index}.sqlite", index, self._recipe)

    def _endpoint(self) -> Endpoint:
        connections = {
            token: Connection(index, source.database, self._rate())
            for index, (token, source) in enumerate(
                zip(self.access_tokens, self._sources, strict=True)
            )
        }
        return Endpoint(self.api_key, connections, FaultPlan(self._faults), self._manners)

    def _rate(self) -> RateLimit | None:
        return None if self._rate_limit is None else RateLimit(self._rate_limit)


def _secrets(seed: int, count: int) -> list[str]:
    rng = random.Random(f"secrets/{seed}")
    return [f"sandbox{rng.getrandbits(128):032x}" for _ in range(count)]
