"""A bar while pages come in: in terminals and notebooks, and nowhere else unless asked."""

from __future__ import annotations

import os
import sys
from typing import Any, Self

__all__ = ["Progress"]


class Progress:
    """Count orders and pages, visibly or not.

    Parameters
    ----------
    shown
        True or False; None shows the bar in a terminal or a notebook, unless ``CI`` is set.
    """

    def __init__(self, *, shown: bool | None = None) -> None:
        self._bar: Any = None
        self._shown = _someone_looks() if shown is None else shown
        self._pages = 0
        self.requests = 0

    def sent(self, left: int | None) -> None:
        """Count a request."""
        self.requests += 1

    def waiting(self, why: str, seconds: float) -> None:
        """Tell."""

    def __enter__(self) -> Self:
        if self._shown:
            from tqdm.auto import tqdm  # noqa: PLC0415  (draws on notebooks; slow to import)

            self._bar = tqdm(unit=" orders", desc="fetching", leave=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, orders: int) -> None:
        """Count one more page."""
        self._pages += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._pages:,} pages", refresh=False)
            self._bar.update(orders)


def _someone_looks() -> bool:
    if os.environ.get("CI"):
        return False
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
