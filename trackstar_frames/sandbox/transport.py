"""Threads and sockets: an HTTP/1.1 server that can misbehave on purpose, and stops cleanly."""

import os
import socket
import struct
import threading
import time
from http import HTTPStatus
from typing import Any

from cheroot.server import Gateway, HTTPConnection, HTTPServer

from trackstar_frames.sandbox.answers import Answer
from trackstar_frames.sandbox.endpoint import Call, Endpoint
from trackstar_frames.sandbox.log import Request, RequestLog

_THREADS = 24  # as many answers can be under way at once
_NO_LINGERING = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# What lets a port be taken at once on POSIX lets several take one on Windows.
_ALONE = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


class _Connection(HTTPConnection):
    def close(self) -> None:
        super().close()
        # Or what a client did not wait for would be sent again when this is collected.
        self.wfile.raw.close()


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
        super().__init__(("127.0.0.1", port), _Gateway, minthreads=_THREADS)
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
