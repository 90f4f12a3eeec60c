"""Checks of the sandbox's options."""

import random
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from trackstar_frames.sandbox.generator.changes import Changes, Directory, Passage, fate
from trackstar_frames.sandbox.generator.merchant import DAY, HOUR, Span
from trackstar_frames.sandbox.generator.orders import FIRST_NUMBER, make_orders, merchant_of
from trackstar_frames.sandbox.server.database import LISTING_ORDERS, Database, Row, settled, waiting
from trackstar_frames.sandbox.server.endpoint import (
    Connection,
    Endpoint,
    Manners,
    RateLimit,
    Request,
    RequestLog,
    Server,
)
from trackstar_frames.sandbox.server.faults import Fault, FaultPlan

if TYPE_CHECKING:
    from trackstar_frames.client import TrackstarClient


def check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    """Raise ValueError if `value` is none of those `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, allowed))}")


def check_numbers(**numbers: Any) -> None:
    """Raise ValueError if a number is out of its bounds; what is no number passes."""
    for name, value in numbers.items():
        low, high = BOUNDS[name]
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not between {low} and {high}")


def check_whole(**numbers: Any) -> None:
    """Raise ValueError if a number is not whole; None passes."""
    for name, value in numbers.items():
        if value is not None and type(value) is not int:
            raise ValueError(f"{name}={value!r} is not a whole number")


def check_index(name: str, value: int, count: int) -> None:
    """Raise ValueError if `value` is none of the places of `count` things."""
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"{name}={value!r} is not between 0 and {count - 1}")


def check_time(now: datetime | None) -> None:
    """Raise ValueError if a time has no time zone."""
    if now is not None and now.tzinfo is None:
        raise ValueError(f"now={now!r} has no time zone; say which, for instance UTC")


BOUNDS = {
    "orders": (0, 10**8),
    "tokens": (1, 1000),
    "rate_limit": (1, 10**6),
    "latency": (0, 3600),
    "port": (0, 65_535),
    "days": (1, 10_000),
    "odd": (0, 1),
    "hours": (0.01, 10_000),
    "new": (0, 10**6),
    "late": (0, 1),
}


TRACKSTAR_DATES = ("trackstar_created_date", "trackstar_updated_date")


@dataclass(frozen=True)
class Recipe:
    """What orders to begin with: the options of a sandbox, which explains them."""

    orders: int | Sequence[Mapping[str, Any]]
    seed: int
    now: datetime
    days: int
    odd: float
    order: str
    trackstar_dates: bool

    @property
    def without(self) -> tuple[str, ...]:
        """The fields that its orders do not have."""
        return () if self.trackstar_dates else TRACKSTAR_DATES


class Source:
    """The orders of one access token, which change as time passes.

    Parameters
    ----------
    path
        Where to keep them.
    index
        The place of the token; each has other orders.
    recipe
        What orders to begin with.
    """

    def __init__(self, path: Path, index: int, recipe: Recipe) -> None:
        self._index = index
        self._recipe = recipe
        self._now = int(recipe.now.timestamp())
        self._number = _next_number(recipe.orders)
        self._lock = threading.Lock()
        self.database = Database(path, recipe.order, recipe.without)
        self.database.load(self._first_orders())

    @property
    def now(self) -> datetime:
        """The time up to which the orders have happened."""
        return datetime.fromtimestamp(self._now, UTC)

    def advance(self, hours: float, new: int | None, late: float, seed: int | None) -> Changes:
        """Let time pass; readers see the orders of before or those of after."""
        check_numbers(hours=hours, new=new, late=late)
        check_whole(new=new, seed=seed)
        with self._lock:
            span = Span(self._now, self._now + round(hours * HOUR))
            story = f"{self._recipe.seed if seed is None else seed}/{self._index}"
            rng = random.Random(f"changes/{story}/{span.before}")
            passage = Passage(rng, span, self._directory, late)
            usual = self._usual(span)
            changed = self._go_on(passage, rng, span, f"fate/{story}")
            changed |= self._amend(passage, rng, span, _whole(rng, usual * AMENDED))
            count = _whole(rng, usual) if new is None else new
            fresh = passage.fresh(count, self._number, self._recipe.odd)
            self.database.rewrite(changed, fresh)
            self._now, self._number = span.now, self._number + count
            return passage.changes

    def _go_on(
        self, passage: Passage, rng: random.Random, span: Span, story: str
    ) -> dict[int, dict[str, Any]]:
        rows = waiting(self.database, span.before)
        fates = {row: ahead for row in rows if (ahead := fate(rng, row, span, story))}
        orders = self._orders(fates)
        for row, order in orders:
            passage.go_on(row, order, fates[row])
        return {row.seq: order for row, order in orders}

    def _amend(
        self, passage: Passage, rng: random.Random, span: Span, count: int
    ) -> dict[int, dict[str, Any]]:
        orders = self._orders(settled(self.database, rng, count, span.before))
        for row, order in orders:
            passage.amend(row, order)
        return {row.seq: order for row, order in orders}

    def _orders(self, rows: Iterable[Row]) -> list[tuple[Row, dict[str, Any]]]:
        rows = list(rows)
        bodies = self.database.bodies(row.seq for row in rows)
        return [(row, bodies[row.seq]) for row in rows if row.seq in bodies]

    def _usual(self, span: Span) -> float:
        """How many orders come in `span` if they come as they came so far."""
        count, oldest = self.database.rows("SELECT count(*), min(created_date) FROM orders")[0]
        since = self._now if oldest is None else oldest / 1_000_000
        if isinstance(self._recipe.orders, int):
            since = self._recipe.now.timestamp() - self._recipe.days * DAY
        return float(count * (span.now - span.before) / max(span.before - since, DAY))

    @cached_property
    def _directory(self) -> Directory:
        return Directory(merchant_of(self._seed))

    @property
    def _seed(self) -> str:
        return f"{self._recipe.seed}/{self._index}"

    def _first_orders(self) -> Iterable[Mapping[str, Any]]:
        recipe = self._recipe
        if not isinstance(recipe.orders, int):
            return recipe.orders
        return make_orders(recipe.orders, self._seed, recipe.now, days=recipe.days, odd=recipe.odd)


# How many orders that are done with change, for each new one.
AMENDED = 0.08


def _whole(rng: random.Random, number: float) -> int:
    """Return `number` as one of its neighbours, so that many of them add up."""
    return int(number + rng.random())


def _next_number(orders: int | Sequence[Mapping[str, Any]]) -> int:
    if isinstance(orders, int):
        return FIRST_NUMBER + orders
    ends = [re.search(r"[0-9]+$", str(order.get("order_number"))) for order in orders]
    return max((int(end[0]) + 1 for end in ends if end), default=FIRST_NUMBER)


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
            for source in self._sources:
                source.database.close()
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
