"""What is printed: tables, and errors on one line."""

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
    "complain",
    "first_rows",
    "say",
    "table",
    "warning_plainly",
]


#: What a pipe says whose reader has gone; on Windows it is the second.
_CLOSED = (errno.EPIPE, errno.EINVAL)

_COLUMNS = ["order_number", "status", "created_date", "required_ship_date", "complete_shipped_date"]


def first_rows(orders: pd.DataFrame) -> str:
    """Write the first orders as a table, and how many there are."""
    shown = orders[_COLUMNS].head(5)
    moments = [name for name in _COLUMNS if name.endswith("_date")]
    shown = shown.assign(**{name: shown[name].dt.strftime("%Y-%m-%d %H:%M") for name in moments})
    size = f"{counted(len(orders), 'order')} x {orders.shape[1]} columns"
    return f"{table(shown)}\n... {size}; moments are UTC"


def table(frame: pd.DataFrame) -> str:
    """Write a frame as a table."""
    with pd.option_context("display.width", 200, "display.max_columns", None):
        return str(frame.to_string(index=False, na_rep="-"))


class OutputError(Exception):
    """Standard output cannot be written to."""


class ClosedPipeError(OutputError):
    """Nobody reads standard output any more, as after ``| head``."""


def say(text: str) -> None:
    """Print, without what would steer the terminal: orders are other people's text.

    A character that the output has no code for, as a pipe on Windows has for few, is escaped.

    Raises
    ------
    OutputError
        If standard output cannot be written to.
    """
    calm = "\n".join(map(plain, text.split("\n")))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with _writing():
        print(calm.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201


def check_output() -> None:
    """Check that there is a standard output: ``>&-`` closes it, and `print` would say nothing.

    Raises
    ------
    OutputError
        If there is none.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; send it to /dev/null if nobody reads it")


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        _discard(sys.stdout)
        if getattr(error, "errno", None) in _CLOSED:
            raise ClosedPipeError from None
        raise OutputError(f"cannot write to standard output: {error}") from None


def complain(message: object, code: int) -> int:
    """Print an error on one line, and give the exit code."""
    _tell("error", message)
    return code


@contextmanager
def warning_plainly() -> Iterator[None]:
    """Print warnings on one line each, as errors are, and not the code that gave them."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _tell("warning", message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _tell(what: str, message: object) -> None:
    line = plain(" ".join(str(message).split()))
    try:
        # Not by print, which would write to standard output where there is no stderr.
        sys.stderr.write(f"trackstar-frames: {what}: {line}\n")
        sys.stderr.flush()
    except AttributeError:
        pass  # it is closed: of an error, the exit code tells
    except (OSError, ValueError):
        _discard(sys.stderr)


def _discard(stream: IO[str]) -> None:
    """Have a stream forget what it could not write, for which Python would end with an error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
