"""Where the workers of a cluster find a token: by a name that means the same on each of them."""

from __future__ import annotations

import sys
from functools import reduce

from trackstar_frames.calls.connections import Source, check_connections
from trackstar_frames.errors import SettingsError

__all__ = ["importable_sources"]


def importable_sources(connections: object) -> dict[str, Source]:
    """Check connections whose tokens are to be had elsewhere than here.

    Raises
    ------
    SettingsError
        If they are none, or a function cannot be imported by its name.
    """
    sources = check_connections(connections)
    for label, source in sources.items():
        if not isinstance(source, str) and not _is_importable(source):
            raise SettingsError(
                f"connections[{label!r}]: its function must be importable on the workers, as it is "
                f"sent by name; so it must stand at the top of a module, and be no lambda, no "
                f"function within another, no method or partial, and not of __main__. Move it to "
                f"a module, or give the name of an environment variable of the workers"
            )
    return sources


def _is_importable(source: object) -> bool:
    """Tell whether a name leads to it; anything else would travel with all that it holds."""
    module, name = (getattr(source, each, None) for each in ("__module__", "__qualname__"))
    if module == "__main__" or not (isinstance(module, str) and isinstance(name, str)):
        return False
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is source
