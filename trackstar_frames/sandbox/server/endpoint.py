"""The endpoint ``GET /wms/orders``, and the HTTP server on loopback that serves it."""

import gzip
import itertools
import math
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
from cheroot.server import Gateway, HTTPConnection, HTTPServer
from cheroot.workers.threadpool import ThreadPool, WorkerThread

from trackstar_frames.sandbox.server import faults
from trackstar_frames.sandbox.server.database import Database, InvalidQueryError, parse
from trackstar_frames.sandbox.server.faults import Fault, Response, error_response


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


@dataclass(frozen=True)
class Options:
    """The parameters of `Sandbox`; no order has the fields of `omitted`."""

    orders: int | Sequence[Mapping[str, Any]]
    seed: int
    rate_limit: int | None
    latency: float
    now: datetime
    is_now_given: bool
    days: int
    odd: float
    order: str
    total_count: str
    gzip: bool
    rate_headers: str | None
    omitted: tuple[str, ...]
    port: int
    clock: Callable[[], float]


class RateLimit:
    """At most `limit` requests in any second; headers that begin with `prefix` state it."""

    # A client that sends exactly at the limit must not be refused because its eleventh request
    # travelled a millisecond faster than its first.
    _WINDOW = 0.95

    def __init__(self, limit: int, prefix: str | None) -> None:
        self._limit = limit
        self._prefix = prefix
        self._lock = threading.Lock()
        self._allowed: deque[float] = deque()

    def acquire(self, now: float) -> tuple[bool, dict[str, str]]:
        """Return whether a request at `now` is allowed, and counted; and its rate headers."""
        with self._lock:
            while self._allowed and self._allowed[0] <= now - self._WINDOW:
                self._allowed.popleft()
            allowed = len(self._allowed) < self._limit
            if allowed:
                self._allowed.append(now)
            headers = {
                f"{self._prefix}-limit": str(self._limit),
                f"{self._prefix}-remaining": str(self._limit - len(self._allowed)),
                f"{self._prefix}-reset": str(math.ceil(self._allowed[-1] + 1)),
            }
            if not allowed:
                # The older spelling, "x-rate-limit", has the prefix here too.
                prefix = "" if self._prefix == "x-ratelimit" else f"{self._prefix}-"
                wait = self._allowed[0] + self._WINDOW - now
                headers[f"{prefix}retry-after"] = str(max(1, math.ceil(wait)))
            return allowed, headers if self._prefix else {}


class Connection:
    """What belongs to one access token: its index, its orders, its rate limit (None: no limit)."""

    def __init__(self, path: Path, index: int, options: Options) -> None:
        self.index = index
        self.database = Database(path, options.order, options.omitted)
        limit = options.rate_limit
        self.rate = None if limit is None else RateLimit(limit, options.rate_headers)


@dataclass(frozen=True)
class Endpoint:
    """Responds to requests; the connections are by access token."""

    api_key: str
    connections: Mapping[str, Connection]
    fault_plan: faults.FaultPlan
    options: Options

    def respond(self, number: int, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Return the response to a request; names of `headers` are in lower case."""
        common = {"X-Request-Id": f"req_{number:08d}"}
        url, connection, allowed = urlsplit(path), None, True
        if headers.get("x-trackstar-api-key") == self.api_key:
            connection = self.connections.get(headers.get("x-trackstar-access-token", ""))
        if connection is not None and connection.rate is not None:
            allowed, rate_headers = connection.rate.acquire(self.options.clock())
            common |= rate_headers
        if not allowed:
            response = error_response(429)
        elif url.path != "/wms/orders":
            response = error_response(404)
        elif method != "GET":
            response = error_response(405)
            common["Allow"] = "GET"
        elif connection is None:
            response = error_response(401)
        else:
            pairs = parse_qsl(url.query, keep_blank_values=True)
            response = self._orders(pairs, headers, connection)
        response.headers = common | response.headers
        accepted = self.options.gzip and "gzip" in headers.get("accept-encoding", "")
        if accepted and "Content-Encoding" not in response.headers:
            response.headers["Vary"] = "Accept-Encoding"
            _compress(response)
        return response

    def _orders(
        self, pairs: list[tuple[str, str]], headers: Mapping[str, str], connection: Connection
    ) -> Response:
        fault = self.fault_plan.next(connection.index, dict(pairs))
        if fault.kind in faults.INSTEAD:
            response = faults.INSTEAD[fault.kind](fault, headers)
        else:
            response = self._page(pairs, connection.database, fault)
        response.fault = fault
        if fault.kind == "bad_gzip":
            response.headers["Content-Encoding"] = "gzip"
        elif fault.kind == "cut_gzip":
            _compress(response)
            response.body = response.body[: len(response.body) // 2]
        return response

    def _page(self, pairs: list[tuple[str, str]], database: Database, fault: Fault) -> Response:
        if fault.kind == "ignores_dates":
            pairs = [pair for pair in pairs if pair[0].partition("[")[0] != "created_date"]
        try:
            query = parse(pairs, self.options.omitted)
        except InvalidQueryError as error:
            parameter, message = error.args
            return error_response(422, detail={"query": {parameter: [message]}})
        make_page = faults.PAGES.get(fault.kind)
        page = make_page(fault, query, database) if make_page else database.page(query)
        whole = self.options.total_count == "total"
        envelope = {
            "data": [msgspec.Raw(order) for order in page.orders],
            "next_token": page.end and page.end.to_token(),
            "total_count": database.count(query) if whole else len(page.orders),
        }
        if fault.kind in faults.ENVELOPES:
            faults.ENVELOPES[fault.kind](envelope, query)
        return Response(200, msgspec.json.encode(envelope))


def _compress(response: Response) -> None:
    response.headers["Content-Encoding"] = "gzip"
    response.body = gzip.compress(response.body, compresslevel=1)


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
        # The library's own grow() waits for each thread in steps of 0.1 s, and offers no public
        # list to add threads to; stop() ends those of `_threads`.
        for _ in range(amount):
            worker = WorkerThread(self.server)  # type: ignore[no-untyped-call]
            worker.start()
            self._threads.append(worker)  # type: ignore[attr-defined]


class Server(HTTPServer):
    """Serves an endpoint on loopback, in threads of its own, and adds the requests to `log`."""

    ConnectionClass = _Connection
    timeout = 60  # seconds that a connection may be idle, as is common for load balancers

    # How long `stop` may wait, in seconds.
    expiration_interval = 0.02
    shutdown_timeout = 0

    def __init__(self, endpoint: Endpoint, log: dict[int, Request]) -> None:
        address = ("127.0.0.1", endpoint.options.port)
        with socket.socket() as probe:
            # If the port is taken, the library would leave a socket open.
            probe.setsockopt(socket.SOL_SOCKET, _EXCLUSIVE, 1)
            probe.bind(address)
        super().__init__(address, _Gateway)
        self.requests = _ThreadPool(self, min=_THREADS)
        self.endpoint = endpoint
        self.log = log
        self.numbers = itertools.count(1)
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
        options = server.endpoint.options
        method, path = self.req.method.decode(), self.req.uri.decode()
        headers = {
            name.decode().lower(): value.decode() for name, value in self.req.inheaders.items()
        }
        number, token = next(server.numbers), headers.get("x-trackstar-access-token")
        server.log[number] = Request(options.clock(), token, path, None)
        response = server.endpoint.respond(number, method, path, headers)
        fault = response.fault or faults.NO_FAULT
        late = 5.0 if fault.seconds is None else fault.seconds
        server.stopping.wait(options.latency + (late if fault.kind == "hang" else 0))
        server.log[number] = server.log[number]._replace(status=response.status or None)
        # The body of a request is never read: close the connection instead.
        self.req.close_connection |= method != "GET" or fault.kind == "cut"
        if fault.kind == "reset":
            self._reset()
            return
        self.req.status = f"{response.status} {HTTPStatus(response.status).phrase}".encode()
        headers = {"Content-Length": str(len(response.body)), **response.headers}
        self.req.outheaders = [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()
        ]
        self.req.ensure_headers_sent()
        if method != "HEAD":
            self._send_body(response.body, fault)

    def _send_body(self, body: bytes, fault: Fault) -> None:
        if fault.kind == "slow":
            pieces, seconds = fault.pieces or 10, 1.0 if fault.seconds is None else fault.seconds
            step = -(-len(body) // pieces)
            for start in range(0, len(body), step):
                self.req.write(body[start : start + step])
                self.req.server.stopping.wait(seconds / pieces)
        elif fault.kind in ("cut", "reset_mid"):
            self.req.write(body[: len(body) // 2])
            if fault.kind == "reset_mid":
                self._reset()
        else:
            self.req.write(body)

    def _reset(self) -> None:
        # A connection that is closed without lingering is reset.
        connection = self.req.conn.socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        socket.close(connection.detach())
        self.req.conn.socket = socket.socket()  # for the library to close
        self.req.close_connection = self.req.sent_headers = True
