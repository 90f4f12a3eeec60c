"""Threads and sockets: an HTTP/1.1 server that can misbehave on purpose, and stops cleanly."""

import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trackstar_frames.sandbox.answers import Answer
from trackstar_frames.sandbox.endpoint import Call, Endpoint
from trackstar_frames.sandbox.log import Request, RequestLog

# The standard library's server keeps connections open between requests, as real ones do.


class Server(ThreadingHTTPServer):
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

    def __init__(self, port: int, endpoint: Endpoint, log: RequestLog, latency: float) -> None:
        self.endpoint = endpoint
        self.log = log
        self.latency = latency
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and leave neither a thread nor a socket behind."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            left = dict(self._open)
        for thread, connection in left.items():
            _hang_up(connection)
            thread.join()
        self.server_close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and remember it while it is open."""
        thread = threading.current_thread()
        with self._lock:
            self._open[thread] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[thread]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; the second must not wait for the first's receipt.
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.get("x-trackstar-access-token")
        number = self.server.log.arrive(Request(time.time(), token, self.path, None))
        answer = self.server.endpoint.answer(Call(self.command, self.path, headers))
        self._pause(self.server.latency + (answer.seconds if answer.delivery == "late" else 0))
        self.server.log.answer(number, answer.status or None)
        self._deliver(answer)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 -- not our names

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            # The client has gone; it need not say why.
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        """Stay silent: `Sandbox.requests` tells."""

    def _deliver(self, answer: Answer) -> None:
        # What a request carried beside its headers is never read: end the connection instead.
        self.close_connection |= self.command != "GET" or answer.delivery == "cut"
        if answer.delivery == "reset":
            self._reset()
            return
        self._head(answer)
        if self.command != "HEAD":
            self._body(answer)

    def _head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection and answer.delivery != "cut":
            self.send_header("Connection", "close")
        self.end_headers()

    def _body(self, answer: Answer) -> None:
        if answer.delivery == "slow":
            self._drip(answer)
        elif answer.delivery == "cut":
            self.wfile.write(answer.body[: len(answer.body) // 2])
        else:
            self.wfile.write(answer.body)

    def _drip(self, answer: Answer) -> None:
        step = -(-len(answer.body) // answer.pieces)
        for start in range(0, len(answer.body), step):
            self.wfile.write(answer.body[start : start + step])
            self._pause(answer.seconds / answer.pieces)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.server.stopping.wait(seconds)

    def _reset(self) -> None:
        # Closed with nothing to linger for, a connection is reset rather than ended.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        socket.close(self.connection.detach())


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has been closed meanwhile.
        return
