"""The endpoint ``GET /wms/orders``, and the HTTP server on loopback that serves it."""

import gzip
import itertools
import json
import math
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cheroot.server import Gateway, HTTPConnection, HTTPServer
from cheroot.workers.threadpool import ThreadPool, WorkerThread

from trackstar_frames.sandbox.server.database import Database, InvalidQueryError, Query, parse
from trackstar_frames.sandbox.server.faults import (
    Fault,
    FaultPlan,
    Response,
    change_delivery,
    change_envelope,
    change_parameters,
    error_response,
    json_response,
    read_page,
    replacement_response,
)

PATH = "/wms/orders"


class Request(NamedTuple):
    """A request that arrived.

    Attributes
    ----------
    time
        When it arrived, in seconds since the epoch.
    token
        The access token it carried, or None.
    path
        Its path with the query, as sent.
    status
        The status of its response; None until there is one, and if the connection was reset.

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
    """The requests in the order of their arrival, written by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def add(self, request: Request) -> int:
        """Add a request, and return its number."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def set_status(self, number: int, status: int | None) -> None:
        """Set the status of the response to the request with that number."""
        with self._lock:
            self._requests[number] = self._requests[number]._replace(status=status)

    def all(self) -> list[Request]:
        """Return a copy of the list."""
        with self._lock:
            return list(self._requests)


class Budget(NamedTuple):
    """What the rate limit has left after a request.

    Nothing of it is used at the time `reset`; the next request is allowed in `wait` seconds.
    """

    allowed: bool
    remaining: int
    reset: float
    wait: float


class RateLimit:
    """At most `limit` requests in any second."""

    # A client that sends exactly at the limit must not be refused because its eleventh request
    # travelled a millisecond faster than its first.
    _WINDOW = 0.95

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._allowed: deque[float] = deque()

    def acquire(self, now: float) -> Budget:
        """Count a request at `now`, in seconds since the epoch; a refused one is not counted."""
        with self._lock:
            while self._allowed and self._allowed[0] <= now - self._WINDOW:
                self._allowed.popleft()
            allowed = len(self._allowed) < self.limit
            if allowed:
                self._allowed.append(now)
            wait = 0.0 if allowed else self._allowed[0] + self._WINDOW - now
            return Budget(allowed, self.limit - len(self._allowed), self._allowed[-1] + 1, wait)


@dataclass(frozen=True)
class Connection:
    """What belongs to one access token: its index, its orders, its rate limit (None: no limit)."""

    index: int
    database: Database
    rate: RateLimit | None


@dataclass(frozen=True)
class Behaviour:
    """What the documentation leaves open; see the parameters of `Sandbox`."""

    total_count: str
    rate_headers: str | None
    gzip: bool
    unknown_fields: Collection[str]


class Endpoint:
    """Responds to requests; the connections are by access token."""

    def __init__(
        self,
        api_key: str,
        connections: Mapping[str, Connection],
        faults: FaultPlan,
        behaviour: Behaviour,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._api_key = api_key
        self._connections = connections
        self._faults = faults
        self._behaviour = behaviour
        self._numbers = itertools.count(1)

    def respond(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Return the response to a request; names of `headers` are in lower case."""
        common = {"X-Request-Id": f"req_{next(self._numbers):08d}"}
        connection = self._connection(headers)
        budget = None
        if connection is not None and connection.rate is not None:
            budget = connection.rate.acquire(self.clock())
            common |= _rate_headers(connection.rate.limit, budget, self._behaviour.rate_headers)
        if budget is not None and not budget.allowed:
            response = error_response(429)
        elif urlsplit(path).path != PATH:
            response = error_response(404)
        elif method != "GET":
            response = error_response(405, headers={"Allow": "GET"})
        elif connection is None:
            response = error_response(401)
        else:
            response = self._orders(path, headers, connection)
        response = replace(response, headers=common | dict(response.headers))
        return self._compress(headers, response)

    def _connection(self, headers: Mapping[str, str]) -> Connection | None:
        if headers.get("x-trackstar-api-key") != self._api_key:
            return None
        return self._connections.get(headers.get("x-trackstar-access-token", ""))

    def _orders(self, path: str, headers: Mapping[str, str], connection: Connection) -> Response:
        pairs = parse_qsl(urlsplit(path).query, keep_blank_values=True)
        fault = self._faults.next(connection.index, dict(pairs))
        response = replacement_response(fault, headers)
        if response is not None:
            return response
        try:
            query = parse(change_parameters(fault, pairs), self._behaviour.unknown_fields)
            response = self._page(connection.database, query, fault)
        except InvalidQueryError as error:
            detail = {"query": {error.parameter: [error.message]}}
            response = error_response(422, detail=detail)
        return change_delivery(fault, response)

    def _page(self, database: Database, query: Query, fault: Fault | None) -> Response:
        page = read_page(fault, query, database)
        whole = self._behaviour.total_count == "total"
        envelope = {
            "data": b"[%b]" % b",".join(page.orders),
            "next_token": json.dumps(page.end and page.end.to_token()).encode(),
            "total_count": b"%d" % (database.count(query) if whole else len(page.orders)),
        }
        envelope = change_envelope(fault, envelope, query)
        members = b",".join(b'"%b":%b' % (name.encode(), text) for name, text in envelope.items())
        return json_response(200, b"{%b}" % members)

    def _compress(self, headers: Mapping[str, str], response: Response) -> Response:
        accepted = "gzip" in headers.get("accept-encoding", "")
        if not self._behaviour.gzip or not accepted or "Content-Encoding" in response.headers:
            return response
        encoding = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        body = gzip.compress(response.body, compresslevel=1)
        return replace(response, body=body, headers=dict(response.headers) | encoding)


def _rate_headers(limit: int, budget: Budget, prefix: str | None) -> dict[str, str]:
    """Return the headers that state a client's budget; none if the prefix is None."""
    if prefix is None:
        return {}
    headers = {
        f"{prefix}-limit": str(limit),
        f"{prefix}-remaining": str(budget.remaining),
        f"{prefix}-reset": str(math.ceil(budget.reset)),
    }
    if not budget.allowed:
        # The older spelling, "x-rate-limit", has the prefix here too.
        name = "retry-after" if prefix == "x-ratelimit" else f"{prefix}-retry-after"
        headers[name] = str(max(1, math.ceil(budget.wait)))
    return headers


# The HTTP server

_THREADS = 24  # at most as many responses are sent at once
_NO_LINGERING = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# The option that lets a port be reused at once on POSIX lets several servers share it on Windows.
_EXCLUSIVE = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


class _Connection(HTTPConnection):
    def close(self) -> None:
        super().close()
        # Otherwise, what the client did not read would be sent again when this is collected.
        self.wfile.raw.close()


class _ThreadPool(ThreadPool):
    def grow(self, amount: int) -> None:
        """Start threads without waiting for them; the library waits in steps of 0.1 s."""
        for _ in range(amount):
            worker = WorkerThread(self.server)  # type: ignore[no-untyped-call]
            worker.start()
            self._threads.append(worker)  # type: ignore[attr-defined]


class Server(HTTPServer):
    """Serves an endpoint on loopback, in threads of its own, and logs the requests."""

    ConnectionClass = _Connection
    timeout = 60  # seconds that a connection may be idle, as is common for load balancers

    # How long `stop` may wait, in seconds.
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
        """Stop serving, and end all threads and sockets."""
        self.stopping.set()
        super().stop()
        self._thread.join()

    def error_log(self, *_args: Any, **_kwargs: Any) -> None:
        """Print nothing when a client closes its connection."""


class _Gateway(Gateway):
    """Passes a request that the library has read to the endpoint, and sends the response."""

    def respond(self) -> None:
        server: Server = self.req.server
        method, path = self.req.method.decode(), self.req.uri.decode()
        headers = {
            name.decode().lower(): value.decode() for name, value in self.req.inheaders.items()
        }
        token = headers.get("x-trackstar-access-token")
        number = server.log.add(Request(server.endpoint.clock(), token, path, None))
        response = server.endpoint.respond(method, path, headers)
        self._pause(server.latency + (response.seconds if response.delivery == "late" else 0))
        server.log.set_status(number, response.status or None)
        # The body of a request is never read: close the connection instead.
        self.req.close_connection |= method != "GET" or response.delivery == "cut"
        if response.delivery == "reset":
            self._reset()
        else:
            self._send_head(response)
            if method != "HEAD":
                self._send_body(response)

    def _send_head(self, response: Response) -> None:
        self.req.status = f"{response.status} {HTTPStatus(response.status).phrase}".encode()
        headers = {"Content-Length": str(len(response.body)), **response.headers}
        self.req.outheaders = [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()
        ]
        self.req.ensure_headers_sent()

    def _send_body(self, response: Response) -> None:
        body = response.body
        if response.delivery == "slow":
            step = -(-len(body) // response.pieces)
            for start in range(0, len(body), step):
                self.req.write(body[start : start + step])
                self._pause(response.seconds / response.pieces)
        elif response.delivery in ("cut", "reset_mid"):
            self.req.write(body[: len(body) // 2])
            if response.delivery == "reset_mid":
                self._reset()
        else:
            self.req.write(body)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.req.server.stopping.wait(seconds)

    def _reset(self) -> None:
        # A connection that is closed without lingering is reset.
        connection = self.req.conn.socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        socket.close(connection.detach())
        self.req.conn.socket = socket.socket()  # for the library to close
        self.req.close_connection = self.req.sent_headers = True


def _check_free(port: int) -> None:
    """Raise OSError if the port is taken; the library would leave a socket open."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, _EXCLUSIVE, 1)
        probe.bind(("127.0.0.1", port))
