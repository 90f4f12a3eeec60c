"""Printing of text, tables, errors and warnings."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pandas as pd

from trackstar_frames._text import counted, plain

__all__ = [
    "ClosedPipeError",
    "OutputError",
    "check_output",
    "echo",
    "format_orders",
    "format_table",
    "one_line_warnings",
    "print_error",
]


# The error of a pipe whose reader has gone; on Windows it is EINVAL.
_CLOSED = (errno.EPIPE, errno.EINVAL)

_COLUMNS = ["order_number", "status", "created_date", "required_ship_date", "complete_shipped_date"]


class OutputError(Exception):
    """Standard output cannot be written to."""


class ClosedPipeError(OutputError):
    """The reader of standard output has closed the pipe, as ``| head`` does."""


def check_output() -> None:
    """Raise if standard output is closed (``>&-``), where `print` would print nothing."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; send it to /dev/null if nobody reads it")


def echo(text: str) -> None:
    """Print text without control characters, which order data may contain.

    Characters that the output cannot encode, as is common for pipes on Windows, are escaped.
    """
    safe = "\n".join(map(plain, text.split("\n")))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(safe.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201
    except (OSError, ValueError) as error:
        _discard(sys.stdout)
        if getattr(error, "errno", None) in _CLOSED:
            raise ClosedPipeError from None
        raise OutputError(f"cannot write to standard output: {error}") from None


def format_orders(orders: pd.DataFrame) -> str:
    """Return the first orders as a table, and the size of the frame."""
    shown = orders[_COLUMNS].head(5)
    dates = [name for name in _COLUMNS if name.endswith("_date")]
    shown = shown.assign(**{name: shown[name].dt.strftime("%Y-%m-%d %H:%M") for name in dates})
    size = f"{counted(len(orders), 'order')} x {orders.shape[1]} columns"
    return f"{format_table(shown)}\n... {size}; times are UTC"


def format_table(frame: pd.DataFrame) -> str:
    """Return a frame as a table."""
    with pd.option_context("display.width", 200, "display.max_columns", None):
        return str(frame.to_string(index=False, na_rep="-"))


def print_error(message: object, code: int) -> int:
    """Print an error on one line, and return the exit code."""
    _print_to_stderr("error", message)
    return code


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings on one line each, as errors are, without their source line."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _print_to_stderr("warning", message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _print_to_stderr(kind: str, message: object) -> None:
    line = plain(" ".join(str(message).split()))
    try:
        # Not by print, which writes to standard output if stderr is None.
        sys.stderr.write(f"trackstar-frames: {kind}: {line}\n")
        sys.stderr.flush()
    except AttributeError:
        pass  # stderr is closed; the exit code remains
    except (OSError, ValueError):
        _discard(sys.stderr)


def _discard(stream: IO[str]) -> None:
    """Discard what a stream has buffered, which would make Python itself exit with an error."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)
