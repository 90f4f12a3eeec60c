"""Connections whose requests wait for their turn, and whose answers are whole in time.

The insides of requests, urllib3 and http.client are known here, and nowhere else.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any, TypeVar

import requests
import urllib3

__all__ = ["Wires"]

_log = logging.getLogger("trackstar_frames")

#: Interim answers. After 101 another protocol would follow, for which nobody asks.
_INTERIM = {*range(100, 200)} - {101}

_Pools = TypeVar("_Pools", bound=urllib3.PoolManager)


class Wires(requests.adapters.HTTPAdapter):
    """Opens connections whose requests wait for their turn, and whose answers end in time.

    Requests wait with the connection open: what is sent then is soon at the server, and the
    server's count of one second is the same as ours. urllib3 logs what it is told to ask for:
    it is told the path of the first request alone, and what to ask for is put in its place late.
    Filters may be personal data, and so may a path that a server leads to.

    Parameters
    ----------
    turn
        Is called before each request, and may wait.
    """

    def __init__(self, turn: Callable[[], object]) -> None:
        self._turn = turn
        self._target = self._told = ""
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Have the inherited pools open such connections."""
        super().init_poolmanager(*args, **options)
        self._take_turns(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        """Have the pools of a proxy open such connections."""
        known: urllib3.ProxyManager | None = self.proxy_manager.get(proxy)
        return known or self._take_turns(super().proxy_manager_for(proxy, **options))

    def request_url(self, *args: Any, **options: Any) -> str:
        """Tell the path of the first request, and keep that of the one at hand until it is sent."""
        self._target = super().request_url(*args, **options)
        self._told = self._told or self._target.partition("?")[0]
        return self._told

    def _late_target(self) -> str:
        """Wait for the turn of the request at hand, and give its path and query."""
        self._turn()
        return self._target

    def _take_turns(self, pools: _Pools) -> _Pools:
        # Of its own kinds: those of a SOCKS proxy are others.
        pools.pool_classes_by_scheme = {
            scheme: _in_turn(kind, self._late_target)
            for scheme, kind in pools.pool_classes_by_scheme.items()
        }
        return pools


def _in_turn(
    kind: type[urllib3.HTTPConnectionPool], late_target: Callable[[], str]
) -> type[urllib3.HTTPConnectionPool]:
    class Connection(kind.ConnectionCls):  # type: ignore[misc, name-defined]
        response_class = _InTime
        # Whoever sets it for all of http.client would have the credentials printed.
        debuglevel = 0

        def request(self, method: str, _: str, *args: Any, **options: Any) -> None:
            if self.is_closed:
                self.connect()
            super().request(method, late_target(), *args, **options)

    return type("Pool", (kind,), {"ConnectionCls": Connection})


class _InTime(HTTPResponse):
    """An answer that has to be whole, with its head, when the socket's time is over.

    By itself that time is for each read: a server that sends a byte now and then has no end.
    What comes before the answer proper (1xx) is passed over, all of it and not 100 alone.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Clocked(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read the head of the answer."""
        super().begin()
        while self.status in _INTERIM:  # without a header, it begins anew
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        if self.headers.defects or self.headers.get_payload():
            # urllib3 would log the lines, which may hold anything.
            _log.warning("the header of an answer cannot be read to its end")
            self.headers.defects.clear()
            self.headers.set_payload("")


class _Clocked(io.RawIOBase):
    """What comes from a socket, until its time is over."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._end = time.monotonic() + sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
