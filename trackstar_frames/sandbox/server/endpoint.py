"""How many requests one access token may make."""

import gzip
import itertools
import json
import math
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cheroot.server import Gateway, HTTPConnection, HTTPServer
from cheroot.workers.threadpool import ThreadPool, WorkerThread

from trackstar_frames.sandbox.server import faults
from trackstar_frames.sandbox.server.database import (
    Database,
    InvalidQueryError,
    Page,
    Query,
    encode,
    parse,
)
from trackstar_frames.sandbox.server.faults import (
    Answer,
    Fault,
    FaultPlan,
    error_answer,
    json_answer,
)

# A client that sends exactly at the limit must not be refused because its eleventh request
# travelled a millisecond faster than its first.
WINDOW = 0.95
NEWER = "x-ratelimit"


class Budget(NamedTuple):
    """What is left after one request.

    Attributes
    ----------
    allowed
        Whether this request may pass.
    remaining
        How many more may follow at once.
    reset
        When the budget is whole again, in seconds since the epoch.
    wait
        Seconds until the next request may pass.
    """

    allowed: bool
    remaining: int
    reset: float
    wait: float


class RateLimit:
    """At most `limit` requests in any second."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._passed: deque[float] = deque()

    def take(self, now: float) -> Budget:
        """Count a request at `now`, in seconds since the epoch; a refused one is not counted."""
        with self._lock:
            while self._passed and self._passed[0] <= now - WINDOW:
                self._passed.popleft()
            allowed = len(self._passed) < self.limit
            if allowed:
                self._passed.append(now)
            wait = 0.0 if allowed else self._passed[0] + WINDOW - now
            return Budget(allowed, self.limit - len(self._passed), self._passed[-1] + 1, wait)


def rate_headers(limit: int, budget: Budget, spelling: str | None) -> dict[str, str]:
    """Return the headers that tell a client of its budget.

    Parameters
    ----------
    limit, budget
        The requests of one second, and what is left of them.
    spelling
        What the names begin with: ``"x-ratelimit"``, or the older ``"x-rate-limit"``, with which
        ``retry-after`` begins too; None: a server that tells nothing.
    """
    if spelling is None:
        return {}
    headers = {
        f"{spelling}-limit": str(limit),
        f"{spelling}-remaining": str(budget.remaining),
        f"{spelling}-reset": str(math.ceil(budget.reset)),
    }
    if not budget.allowed:
        name = "retry-after" if spelling == NEWER else f"{spelling}-retry-after"
        headers[name] = str(max(1, math.ceil(budget.wait)))
    return headers


class Request(NamedTuple):
    """One request that arrived.

    Attributes
    ----------
    time
        When it arrived, in seconds since the epoch.
    token
        The access token it carried, or None.
    path
        Its path with the query, as sent.
    status
        The status it was answered with; None while it waits, and if it never got one.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=5) as sandbox, sandbox.client(cache=False) as client:
    ...     _ = list(client.iter_pages(status="open"))
    ...     [(request.path, request.status) for request in sandbox.requests]
    [('/wms/orders?status=open&limit=1000', 200)]
    """

    time: float
    token: str | None
    path: str
    status: int | None


class RequestLog:
    """Requests in the order of their arrival, written by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def arrive(self, request: Request) -> int:
        """Note a request, and return its number."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def answer(self, number: int, status: int | None) -> None:
        """Note how the request of that number was answered."""
        with self._lock:
            self._requests[number] = self._requests[number]._replace(status=status)

    def all(self) -> list[Request]:
        """Return a copy of what has been noted."""
        with self._lock:
            return list(self._requests)


PATH = "/wms/orders"


class Call(NamedTuple):
    """One request: its method, its path with the query, and its headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Connection:
    """What belongs to one access token: its place, its orders, its budget (None: no limit)."""

    index: int
    database: Database
    rate: RateLimit | None


@dataclass(frozen=True)
class Manners:
    """What the documentation leaves open, or old answers spell otherwise.

    Attributes
    ----------
    total_count
        ``"page"``: the orders of this page; ``"total"``: those of all pages.
    rate_headers
        What the names of the rate headers begin with; None sends none, nor ``retry-after``.
    gzip
        Whether bodies are compressed for clients that accept it.
    unknown
        Fields that cannot be filtered on, though the documentation says so.
    """

    total_count: str = "page"
    rate_headers: str | None = "x-ratelimit"
    gzip: bool = False
    unknown: Collection[str] = ()


class Endpoint:
    """Answers calls.

    Parameters
    ----------
    api_key
        The key that every call must carry.
    connections
        What each access token opens.
    faults
        What goes wrong.
    manners
        What the documentation leaves open.
    """

    def __init__(
        self,
        api_key: str,
        connections: Mapping[str, Connection],
        faults: FaultPlan,
        manners: Manners,
    ) -> None:
        self._api_key = api_key
        self._connections = connections
        self._faults = faults
        self._manners = manners
        self._numbers = itertools.count(1)

    def answer(self, call: Call) -> Answer:
        """Return the answer to `call`."""
        common = {"X-Request-Id": f"req_{next(self._numbers):08d}"}
        connection = self._connection(call)
        if connection is not None and connection.rate is not None:
            budget = connection.rate.take(time.time())
            common |= rate_headers(connection.rate.limit, budget, self._manners.rate_headers)
            answer = self._limited(call, connection, budget)
        else:
            answer = self._route(call, connection)
        return self._compress(call, replace(answer, headers=common | dict(answer.headers)))

    def _connection(self, call: Call) -> Connection | None:
        if call.headers.get("x-trackstar-api-key") != self._api_key:
            return None
        return self._connections.get(call.headers.get("x-trackstar-access-token", ""))

    def _limited(self, call: Call, connection: Connection, budget: Budget) -> Answer:
        return self._route(call, connection) if budget.allowed else error_answer(429)

    def _route(self, call: Call, connection: Connection | None) -> Answer:
        if urlsplit(call.path).path != PATH:
            return error_answer(404)
        if call.method != "GET":
            return error_answer(405, headers={"Allow": "GET"})
        return error_answer(401) if connection is None else self._orders(call, connection)

    def _orders(self, call: Call, connection: Connection) -> Answer:
        pairs = parse_qsl(urlsplit(call.path).query, keep_blank_values=True)
        fault = self._faults.next(connection.index, dict(pairs))
        if fault is not None and fault.kind in faults.INSTEAD:
            return faults.INSTEAD[fault.kind](fault, call.headers)
        if fault is not None and fault.kind in faults.ON_QUERY:
            pairs = [*faults.ON_QUERY[fault.kind](pairs)]
        try:
            answer = self._page(connection.database, parse(pairs, self._manners.unknown), fault)
        except InvalidQueryError as error:
            detail = {"query": {error.parameter: [error.message]}}
            answer = error_answer(422, detail=detail)
        if fault is not None and fault.kind in faults.ON_THE_WAY:
            answer = faults.ON_THE_WAY[fault.kind](fault, answer)
        return answer

    def _page(self, database: Database, query: Query, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind in faults.ON_ORDERS:
            page = faults.ON_ORDERS[fault.kind](fault, query, database)
        else:
            page = database.page(query)
        envelope = self._envelope(database, query, page)
        if fault is not None and fault.kind in faults.ON_ENVELOPE:
            faults.ON_ENVELOPE[fault.kind](envelope, query)
        members = b",".join(b'"%b":%b' % (name.encode(), text) for name, text in envelope.items())
        return json_answer(200, b"{%b}" % members)

    def _envelope(self, database: Database, query: Query, page: Page) -> dict[str, bytes]:
        whole = self._manners.total_count == "total"
        return {
            "data": b"[%b]" % b",".join(page.orders),
            "next_token": json.dumps(page.end and encode(page.end)).encode(),
            "total_count": b"%d" % (database.count(query) if whole else len(page.orders)),
        }

    def _compress(self, call: Call, answer: Answer) -> Answer:
        accepted = "gzip" in call.headers.get("accept-encoding", "")
        if not self._manners.gzip or not accepted or "Content-Encoding" in answer.headers:
            return answer
        headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        body = gzip.compress(answer.body, compresslevel=1)
        return replace(answer, body=body, headers=dict(answer.headers) | headers)


_THREADS = 24  # as many answers can be under way at once
_NO_LINGERING = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# What lets a port be taken at once on POSIX lets several take one on Windows.
_ALONE = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


class _Connection(HTTPConnection):
    def close(self) -> None:
        super().close()
        # Or what a client did not wait for would be sent again when this is collected.
        self.wfile.raw.close()


class _ThreadPool(ThreadPool):
    """Threads that are started without waiting for them: the library waits in steps of 0.1 s."""

    def grow(self, amount: int) -> None:
        for _ in range(amount):
            worker = WorkerThread(self.server)  # type: ignore[no-untyped-call]
            worker.start()
            self._threads.append(worker)  # type: ignore[attr-defined]


class Server(HTTPServer):
    """Serves an endpoint on loopback, in threads of its own.

    Parameters
    ----------
    port
        The port; 0 takes a free one.
    endpoint
        What answers.
    log
        Where requests are noted.
    latency
        Seconds before every answer.
    """

    ConnectionClass = _Connection
    timeout = 60  # seconds that a connection may be idle, as load balancers commonly have it

    # How long `stop` may have to wait, in seconds.
    expiration_interval = 0.02
    shutdown_timeout = 0

    def __init__(self, port: int, endpoint: Endpoint, log: RequestLog, latency: float) -> None:
        _check_free(port)
        super().__init__(("127.0.0.1", port), _Gateway)
        self.requests = _ThreadPool(self, min=_THREADS)
        self.endpoint = endpoint
        self.log = log
        self.latency = latency
        self.stopping = threading.Event()
        self.prepare()
        self.server_port: int = self.bind_addr[1]
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and leave neither a thread nor a socket behind."""
        self.stopping.set()
        super().stop()
        self._thread.join()

    def error_log(self, *_args: Any, **_kwargs: Any) -> None:
        """Stay silent when a client has gone; it need not say why."""


class _Gateway(Gateway):
    """From a request as the library reads it to the endpoint, and back."""

    def respond(self) -> None:
        server: Server = self.req.server
        call = Call(
            self.req.method.decode(),
            self.req.uri.decode(),
            {name.decode().lower(): value.decode() for name, value in self.req.inheaders.items()},
        )
        token = call.headers.get("x-trackstar-access-token")
        number = server.log.arrive(Request(time.time(), token, call.path, None))
        answer = server.endpoint.answer(call)
        self._pause(server.latency + (answer.seconds if answer.delivery == "late" else 0))
        server.log.answer(number, answer.status or None)
        # What a request carried beside its headers is never read: end the connection instead.
        self.req.close_connection |= call.method != "GET" or answer.delivery == "cut"
        if answer.delivery == "reset":
            self._reset()
        else:
            self._head(answer)
            if call.method != "HEAD":
                self._body(answer)

    def _head(self, answer: Answer) -> None:
        self.req.status = f"{answer.status} {HTTPStatus(answer.status).phrase}".encode()
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        self.req.outheaders = [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()
        ]
        self.req.ensure_headers_sent()

    def _body(self, answer: Answer) -> None:
        if answer.delivery == "slow":
            self._drip(answer)
        elif answer.delivery == "cut":
            self._half(answer)
        elif answer.delivery == "reset_mid":
            self._half(answer)
            self._reset()
        else:
            self.req.write(answer.body)

    def _half(self, answer: Answer) -> None:
        self.req.write(answer.body[: len(answer.body) // 2])

    def _drip(self, answer: Answer) -> None:
        step = -(-len(answer.body) // answer.pieces)
        for start in range(0, len(answer.body), step):
            self.req.write(answer.body[start : start + step])
            self._pause(answer.seconds / answer.pieces)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.req.server.stopping.wait(seconds)

    def _reset(self) -> None:
        # Closed with nothing to linger for, a connection is reset rather than ended.
        connection = self.req.conn.socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        socket.close(connection.detach())
        self.req.conn.socket = socket.socket()  # for the library to close in its turn
        self.req.close_connection = self.req.sent_headers = True


def _check_free(port: int) -> None:
    """Raise OSError for a taken port, where the library would leave a socket open."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, _ALONE, 1)
        probe.bind(("127.0.0.1", port))
