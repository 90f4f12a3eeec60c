"""The sandbox: a server, its connections, and the time that passes in each."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from trackstar_frames.sandbox.generator.changes import Changes, OrderRow, TimeStep
from trackstar_frames.sandbox.generator.merchants import DAY, HOUR, Random
from trackstar_frames.sandbox.generator.orders import FIRST_NUMBER, make_orders, merchant_of
from trackstar_frames.sandbox.server.database import LISTING_ORDERS, Query
from trackstar_frames.sandbox.server.endpoint import Connection, Endpoint, Options, Request, Server
from trackstar_frames.sandbox.server.faults import Fault, FaultPlan

if TYPE_CHECKING:
    from trackstar_frames.client import TrackstarClient


class Sandbox:
    """A server of ``GET /wms/orders`` on this machine, with made-up orders.

    A context manager; or call `start` and `stop`. Every access token is a connection with orders
    and a rate limit of its own. Stopping deletes the data; starting again makes the same orders.

    Parameters
    ----------
    orders
        How many orders each token has; or the orders themselves, which are served as they are.
    seed
        The same seed and the same `now` give the same orders.
    tokens
        How many access tokens there are.
    rate_limit
        Requests per second and token; None is no limit.
    latency
        Seconds before every response.
    faults
        What goes wrong, and when: a list of `Fault`.
    now
        The time up to which orders have happened, with a time zone; by default the current hour.
        If it is given, the clocks of the sandbox's clients go on from it, so that data are
        ``fetched_at`` that time.
    days
        How many days before `now` the first orders were created.
    odd
        The share of orders with values that real integrations send and the documentation does
        not promise: numbers for strings, strings for numbers, unknown keys, older shapes.
    order
        The order of a listing, which is undocumented: ``"inserted"`` (without meaning),
        ``"reversed"``, ``"id"``, ``"created_date"``, ``"created_date_desc"``, ``"updated_date"``
        or ``"updated_date_desc"``.
    total_count
        Whether ``total_count`` counts the orders of the ``"page"`` or of all pages, ``"total"``.
    gzip
        Whether bodies are compressed for clients that accept it.
    rate_headers
        The prefix of the rate limit headers: ``"x-ratelimit"`` or ``"x-rate-limit"``. None sends
        none of them, and a 429 without ``retry-after``.
    trackstar_dates
        Whether orders have ``trackstar_created_date`` and ``trackstar_updated_date``. False
        removes them from every order, and responds to filters on them with 422, as some
        integrations do.
    port
        The port; 0 chooses a free one.
    clock
        The time in seconds since the epoch, for the rate limit and `requests`.

    Attributes
    ----------
    api_key, access_tokens
        The credentials.

    Raises
    ------
    ValueError
        If an argument is out of its bounds.

    See Also
    --------
    Fault : The kinds of faults, when each happens, and its parameters.

    Examples
    --------
    >>> import trackstar_frames as tf
    >>> with Sandbox(orders=10, seed=1) as sandbox, sandbox.client(cache=False) as client:
    ...     len(tf.fetch_orders_df(client=client, progress=False))
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_bounds(orders=orders, tokens=tokens, rate_limit=rate_limit, latency=latency)
        _check_bounds(days=days, odd=odd, port=port)
        if now is not None and now.tzinfo is None:
            raise ValueError(f"now={now!r} has no time zone; say which, for instance UTC")
        _check_choice("order", order, tuple(LISTING_ORDERS))
        _check_choice("total_count", total_count, ("page", "total"))
        _check_choice("rate_headers", rate_headers, ("x-ratelimit", "x-rate-limit", None))
        omitted = () if trackstar_dates else ("trackstar_created_date", "trackstar_updated_date")
        self._options = Options(
            orders=orders,
            seed=seed,
            rate_limit=rate_limit,
            latency=latency,
            now=now or datetime.now(UTC).replace(minute=0, second=0, microsecond=0),
            is_now_given=now is not None,
            days=days,
            odd=odd,
            order=order,
            total_count=total_count,
            gzip=gzip,
            rate_headers=rate_headers,
            omitted=omitted,
            port=port,
            clock=clock,
        )
        self._faults = tuple(faults or ())
        self._log: dict[int, Request] = {}
        self._simulations: list[_Simulation] = []
        self._server: Server | None = None
        rng = Random(f"secrets/{seed}")
        secrets = [f"sandbox{rng.getrandbits(128):032x}" for _ in range(tokens + 1)]
        self.api_key, *self.access_tokens = secrets

    @property
    def access_token(self) -> str:
        """The first access token."""
        return self.access_tokens[0]

    @property
    def base_url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._running().server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a client of this server reads; one for each token, too."""
        return {
            "TRACKSTAR_BASE_URL": self.base_url,
            "TRACKSTAR_API_KEY": self.api_key,
            "TRACKSTAR_ACCESS_TOKEN": self.access_token,
            **dict(zip(self.connections.values(), self.access_tokens, strict=True)),
        }

    @property
    def connections(self) -> dict[str, str]:
        """A label for each token, and the variable of `environment` that contains it.

        They are what ``connections=`` of the fetch functions takes.

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
        """The orders of the first token, exactly as the API gives them; read at each access."""
        return self.orders_of(0)

    @property
    def requests(self) -> list[Request]:
        """The requests since `start`, in the order of arrival."""
        return [*self._log.copy().values()]  # the server may add one meanwhile

    def orders_of(self, token: int) -> list[dict[str, Any]]:
        """Return the orders of a token.

        Parameters
        ----------
        token
            The index of the access token.

        Returns
        -------
        list of dict
            The orders, exactly as the API gives them.

        Examples
        --------
        >>> with Sandbox(orders=10, tokens=2) as sandbox:
        ...     first, second = sandbox.orders_of(0), sandbox.orders_of(1)
        >>> len(first), {order["id"] for order in first} & {order["id"] for order in second}
        (10, set())
        """
        return self._simulation(token).database.orders()

    def now_of(self, token: int = 0) -> datetime:
        """Return the time up to which the orders of a token have happened.

        Parameters
        ----------
        token
            The index of the access token.

        Returns
        -------
        datetime.datetime
            The time, in UTC.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     before = sandbox.now_of()
        ...     _ = sandbox.advance(hours=24)
        ...     print(sandbox.now_of() - before)
        1 day, 0:00:00
        """
        return datetime.fromtimestamp(self._simulation(token).now, UTC)

    def upsert(self, orders: Iterable[Mapping[str, Any]], token: int = 0) -> None:
        """Replace the orders whose ids a token has, and add the others.

        `advance` does not change these orders from then on.

        Parameters
        ----------
        orders
            The orders, as the API gives them.
        token
            The index of the access token.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.upsert([{"id": "mine", "status": "open"}])
        ...     len(sandbox.orders)
        11
        """
        self._simulation(token).database.upsert(orders)

    def delete(self, ids: Iterable[str], token: int = 0) -> None:
        """Delete orders of a token.

        Parameters
        ----------
        ids
            The ids of the orders; unknown ones are ignored.
        token
            The index of the access token.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.delete([sandbox.orders[0]["id"]])
        ...     len(sandbox.orders)
        9
        """
        self._simulation(token).database.delete(ids)

    def advance(
        self,
        hours: float = 24.0,
        *,
        new: int | None = None,
        late: float = 0.05,
        seed: int | None = None,
        token: int = 0,
    ) -> Changes:
        """Let time pass for a token: orders arrive, progress, are shipped, cancelled and edited.

        The same sandbox and the same calls give the same orders. A response shows the orders from
        before or from after the call, never some of both.

        Parameters
        ----------
        hours
            How much time passes, from 0.01 to 10,000 hours.
        new
            How many orders are added; by default about as many as in the same time before.
        late
            The share of new and changed orders that arrive late: their ``updated_date``, and the
            ``created_date`` of new ones, is hours to days before these hours, although Trackstar
            saw them within these hours. An order that last changed in the hour before is not late.
        seed
            Another seed gives other changes; by default the sandbox's own.
        token
            The index of the access token.

        Returns
        -------
        Changes
            The ids of the orders that were added, and of those that changed, and how.

        Raises
        ------
        ValueError
            If an argument is out of its bounds.
        RuntimeError
            If the sandbox is not running, or if its orders were given rather than made up.

        Examples
        --------
        >>> with Sandbox(orders=1000, seed=1) as sandbox:
        ...     changes = sandbox.advance(hours=6, new=3)
        ...     len(changes.new), len(sandbox.orders)
        (3, 1003)
        """
        return self._simulation(token).advance(hours, new, late, seed)

    def client(self, token: int = 0, **kwargs: Any) -> "TrackstarClient":
        """Return a client of this server for a token.

        Parameters
        ----------
        token
            The index of the access token.
        **kwargs
            Passed to `TrackstarClient`.

        Returns
        -------
        TrackstarClient
            A client with this server's address and credentials.

        Examples
        --------
        >>> with Sandbox(orders=10) as sandbox:
        ...     sandbox.client(connection="demo", cache=False).connection
        'demo'
        """
        from trackstar_frames.client import TrackstarClient  # noqa: PLC0415 -- nothing else is shared

        _check_index("token", token, len(self.access_tokens))
        own = {"api_key": self.api_key, "access_token": self.access_tokens[token]}
        client = TrackstarClient(**{**own, "base_url": self.base_url, **kwargs})
        if self._options.is_now_given:
            client.session.clock = self._simulation(token).clock
        return client

    def start(self) -> Self:
        """Make the orders and start to serve them.

        Returns
        -------
        Sandbox
            This sandbox.

        Raises
        ------
        RuntimeError
            If it is running already.

        Examples
        --------
        >>> sandbox = Sandbox(orders=10).start()
        >>> len(sandbox.orders)
        10
        >>> sandbox.stop()
        """
        if self._server is not None:
            raise RuntimeError("the sandbox is running already; stop() it first")
        with ExitStack() as stack:
            self._folder = stack.enter_context(TemporaryDirectory(prefix="trackstar-sandbox-"))
            self._simulations = []
            for index in range(len(self.access_tokens)):
                path = Path(self._folder) / f"{index}.sqlite"
                simulation = _Simulation(path, index, self._options)
                stack.callback(simulation.database.close)
                self._simulations.append(simulation)
            self._log = {}
            connections = dict(zip(self.access_tokens, self._simulations, strict=True))
            endpoint = Endpoint(self.api_key, connections, FaultPlan(self._faults), self._options)
            self._server = Server(endpoint, self._log)
            stack.callback(self._server.stop)
            self._cleanup = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stop serving and delete the data; do nothing if the sandbox is stopped.

        Examples
        --------
        >>> sandbox = Sandbox(orders=10).start()
        >>> sandbox.stop()
        >>> sandbox
        <Sandbox stopped: 10 orders, tokens: 1>
        """
        if self._server is not None:
            self._cleanup.close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "stopped" if self._server is None else self.base_url
        given = self._options.orders
        count = given if isinstance(given, int) else len(given)
        return f"<Sandbox {where}: {count:,} orders, tokens: {len(self.access_tokens)}>"

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the sandbox is not running; start() it or use it in a with block")
        return self._server

    def _simulation(self, token: int) -> "_Simulation":
        self._running()
        _check_index("token", token, len(self._simulations))
        return self._simulations[token]


# How many orders that are fulfilled or cancelled change, for each new one.
_AMENDED = 0.08


class _Simulation(Connection):
    """The orders of one access token, and the time up to which they have happened."""

    def __init__(self, path: Path, index: int, options: Options) -> None:
        super().__init__(path, index, options)
        self._options = options
        self.now = int(options.now.timestamp())
        self._started = time.time()
        self._lock = threading.Lock()
        given = options.orders
        if isinstance(given, int):
            self._number = FIRST_NUMBER + given
            self._merchant_seed = f"{options.seed}/{index}"
            days, odd = options.days, options.odd
            made = make_orders(given, self._merchant_seed, options.now, days=days, odd=odd)
            self.database.load(made, made_up=True)
        else:
            self.database.load(given, made_up=False)

    def clock(self) -> float:
        """Return the time in Unix seconds: that up to which orders have happened, and going on."""
        return self.now + time.time() - self._started

    def advance(self, hours: float, new: int | None, late: float, seed: int | None) -> Changes:
        """Let time pass; readers see the orders from before or those from after."""
        _check_bounds(hours=hours, new=new, late=late)
        _check_integers(new=new, seed=seed)
        if not isinstance(self._options.orders, int):
            raise RuntimeError(  # noqa: TRY004 -- it is the call that is wrong, not a type
                "advance() changes made-up orders, and this sandbox was given its orders; "
                "change them with upsert() and delete()"
            )
        with self._lock:
            before, now = self.now, self.now + round(hours * HOUR)
            seed_of_changes = f"{self._options.seed if seed is None else seed}/{self.index}"
            rng = Random(f"changes/{seed_of_changes}/{before}")
            step = TimeStep(rng, before, now, merchant_of(self._merchant_seed), late)
            since = self._options.now.timestamp() - self._options.days * DAY
            usual = self.database.count(Query()) * (now - before) / max(before - since, DAY)
            changed = self._progress(step, seed_of_changes)
            done = self.database.sample_done(rng, _round_randomly(rng, usual * _AMENDED), before)
            for row, order in self.database.orders_of(done).items():
                step.amend(row, order)
                changed[row] = order
            count = _round_randomly(rng, usual) if new is None else new
            self.database.advance(changed, step.new_orders(count, self._number, self._options.odd))
            self.now, self._number = now, self._number + count
            return step.changes

    def _progress(self, step: TimeStep, seed: str) -> dict[OrderRow, dict[str, Any]]:
        rows = self.database.waiting(self.now)
        futures = {row: future for row in rows if (future := step.future(row, seed))}
        orders = self.database.orders_of(futures)
        for row, order in orders.items():
            step.progress(row, order, futures[row])
        return orders


def _round_randomly(rng: Random, number: float) -> int:
    """Return an integer next to `number`, so that the sum of many is right."""
    return int(number + rng.random())


# Checks of arguments

_BOUNDS = {
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


def _check_bounds(**numbers: Any) -> None:
    """Raise ValueError if a number is out of its bounds; values that are no numbers pass."""
    for name, value in numbers.items():
        low, high = _BOUNDS[name]
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not between {low} and {high}")


def _check_integers(**numbers: Any) -> None:
    for name, value in numbers.items():
        if value is not None and type(value) is not int:
            raise ValueError(f"{name}={value!r} is not a whole number")


def _check_index(name: str, value: int, count: int) -> None:
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"{name}={value!r} is not between 0 and {count - 1}")


def _check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, allowed))}")
