"""The sandbox in a process of its own, so that it shares no interpreter with the measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from trackstar_frames.sandbox import Changes, Request, Sandbox


@dataclass(frozen=True)
class Server:
    """Where the sandbox listens, and what it lets in."""

    base_url: str
    api_key: str = field(repr=False)
    access_token: str = field(repr=False)


class Serving:
    """A sandbox that runs.

    Parameters
    ----------
    pipe
        The process that it runs in.

    Attributes
    ----------
    server
        What others need to ask it; picklable.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.server: Server = pipe.recv()

    def requests(self, started_at: float, ended: float) -> list[Request]:
        """Read from its log what arrived between two times (Unix seconds)."""
        return self._ask("requests", started_at, ended)

    def advance(self, hours: float) -> Changes:
        """Let time pass over its orders, and tell what changed."""
        return self._ask("advance", hours)

    def _ask(self, what: str, *given: float) -> Any:
        self._pipe.send((what, given))
        return self._pipe.recv()


@contextmanager
def serve(orders: int, **options: Any) -> Iterator[Serving]:
    """Run a sandbox with so many orders, and without a limit unless the options have one."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(orders, options, there), daemon=True)
    process.start()
    there.close()
    try:
        yield Serving(here)
    finally:
        here.close()
        process.join()


def _serve(orders: int, options: dict[str, Any], pipe: Connection) -> None:
    with Sandbox(orders, **({"rate_limit": None} | options)) as sandbox:
        pipe.send(Server(sandbox.base_url, sandbox.api_key, sandbox.access_token))
        answers = {"advance": sandbox.advance, "requests": partial(_requests, sandbox)}
        while True:
            try:
                what, given = pipe.recv()
            except EOFError:
                return
            pipe.send(answers[what](*given))


def _requests(sandbox: Sandbox, started_at: float, ended: float) -> list[Request]:
    return [each for each in sandbox.requests if started_at <= each.time <= ended]
