"""What is printed: tables, and errors on one line."""

from __future__ import annotations

import sys

import pandas as pd

from trackstar_frames.plain import counted, plain

__all__ = ["complain", "first_rows", "say", "table"]

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


def say(text: str) -> None:
    """Print, without what would steer the terminal: orders are other people's text.

    A character that the output has no code for, as a pipe on Windows has for few, is escaped.
    """
    calm = "\n".join(map(plain, text.split("\n")))
    encoding = sys.stdout.encoding or "utf-8"
    print(calm.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201


def complain(message: object, code: int) -> int:
    """Print an error on one line, and give the exit code."""
    line = plain(" ".join(str(message).split()))
    print(f"trackstar-frames: error: {line}", file=sys.stderr)  # noqa: T201
    return code
