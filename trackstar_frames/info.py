"""`FetchInfo`: the metadata of a fetch, stored with frames, snapshots and in Parquet footers."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NoReturn

from trackstar_frames._text import counted, plain, warn
from trackstar_frames.dates import parse_time

_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Keys that earlier versions wrote under another name.
_RENAMED = {"began": "started_at", "question": "request_hash"}

_TIMES = ("started_at", "fetched_at", "server_time")
_COUNTS = ("pages", "requests", "from_cache", "stale", "duplicates")

#: Keys that each of several connections has for itself; the others are the same for all.
_OF_EACH = (*_TIMES, "request_hash", *_COUNTS, "complete", "verified", "sync")

_DEFAULTS: Mapping[str, Any] = {
    "filters": {},
    "extra_params": {},
    **dict.fromkeys(("limit", "request_hash", "connection", *_TIMES)),
    **dict.fromkeys(_COUNTS, 0),
    "pii": "keep",
    "complete": True,
    "verified": False,
}

_MAX_LABELS = 5  # in a line; more are counted


class _ReadOnlyDict(dict[str, Any]):
    """A dict, so that `json` and `msgspec` write it, that cannot be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("FetchInfo is read-only; dict(info) is a copy that can be changed")

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class FetchInfo(_ReadOnlyDict):
    """The metadata of a fetch: a read-only dict of JSON values, whose keys are attributes too.

    ``info["complete"]`` and ``info.complete`` are the same. It equals a dict of the same values,
    and `json.dumps` takes it.

    Parameters
    ----------
    values, **more
        The known values; others have defaults. Keys of earlier versions (``began``, ``question``)
        are renamed to the current ones.

    Attributes
    ----------
    filters, extra_params : dict
        What was requested, as the caller wrote it; free-form values are ``"*"`` if `pii` is not
        ``"keep"``.
    limit : int or None
        The most orders that were requested.
    pii : str
        How personal data were treated: ``"keep"``, ``"drop"`` or ``"hash"``.
    request_hash : str or None
        Hash of all that determines the orders and their form; None for several connections, and for
        frames that were not fetched.
    connection : str or None
        Label of the connection; None if it has none, and for several connections.
    started_at, fetched_at, server_time : str or None
        When the fetch began, when the server gave the oldest page, and the same by the server's
        clock. ISO 8601, UTC.
    pages, requests, from_cache, stale : int
        Pages that were read, requests that were sent, pages that came from disk, and those of
        them that had expired.
    duplicates : int
        Orders that were dropped as duplicates: the listing had their id twice.
    complete : bool
        Whether no requested order is missing.
    verified : bool
        Whether two readings of the listing agreed.
    sync : dict or None
        What a sync did, see `sync_orders`. This and the next two are keys only if they are not
        empty; they can always be read, as attributes and in square brackets.
    connections : dict of str to dict
        The metadata of each of several connections, by label; empty for one connection.
    failed : dict of str to str
        Connections that failed when this was written, and why.

    Examples
    --------
    >>> info = FetchInfo(limit=20, connection="acme")
    >>> info.limit, info["connection"], info.complete, info.connections
    (20, 'acme', True, {})
    """

    filters: dict[str, Any]
    extra_params: dict[str, Any]
    limit: int | None
    pii: str
    request_hash: str | None
    connection: str | None
    started_at: str | None
    fetched_at: str | None
    server_time: str | None
    pages: int
    requests: int
    from_cache: int
    stale: int
    duplicates: int
    complete: bool
    verified: bool
    sync: dict[str, Any] | None
    connections: dict[str, dict[str, Any]]
    failed: dict[str, str]

    def __init__(self, values: Mapping[str, Any] = _NOTHING, **more: Any) -> None:
        super().__init__(copy.deepcopy({**_DEFAULTS, **rename_keys({**values, **more})}))

    def __missing__(self, key: str) -> Any:
        if key == "sync":
            return None
        if key in ("connections", "failed"):
            return {}
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"FetchInfo has no {name!r}; it has {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchInfo, (dict(self),)

    def __copy__(self) -> FetchInfo:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> FetchInfo:
        return FetchInfo(self)

    def __repr__(self) -> str:
        return f"FetchInfo({summary(self)}; complete={self.complete})"

    def replace(self, **values: Any) -> FetchInfo:
        """Return a copy with other values.

        Parameters
        ----------
        **values
            The values to change, by key.

        Returns
        -------
        FetchInfo
            The copy; this one stays as it is.

        Examples
        --------
        >>> FetchInfo(limit=20).replace(connection="acme").connection
        'acme'
        """
        return FetchInfo(self, **values)


def rename_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which keys of earlier versions have their current names."""

    def rename(known: Mapping[str, Any]) -> dict[str, Any]:
        return {_RENAMED.get(name, name): value for name, value in known.items()}

    renamed = rename(values)
    if several := renamed.get("connections"):
        renamed["connections"] = {label: rename(each) for label, each in several.items()}
    return renamed


def of_connection(info: FetchInfo, label: str) -> FetchInfo:
    """Return the metadata that a fetch of this one of several connections would have."""
    shared = {k: value for k, value in info.items() if k not in ("connections", "failed")}
    return FetchInfo({**shared, **info.connections[label], "connection": label})


def as_of_each(info: FetchInfo, otherwise: str) -> dict[str | None, datetime]:
    """Return the as-of time of the orders of each connection; `otherwise` if it is not known."""
    several: dict[str | None, dict[str, Any]] = dict(info.connections.items())
    every = several or {info.connection: dict(info)}
    return {
        label: parse_time(each["fetched_at"] or otherwise).astimezone(UTC)
        for label, each in every.items()
    }


def join_infos(
    infos: Mapping[str, Mapping[str, Any]],
    *,
    requested: Collection[str] | None = None,
    failed: Mapping[str, str] = _NOTHING,
) -> FetchInfo:
    """Join the metadata of several connections: as old as the oldest page of all.

    Counts are those of `requested`, by default of all; `failed` do not make the others older.
    """
    every = {label: FetchInfo(info) for label, info in infos.items()}
    first = next(iter(every.values()))  # has the whole limit; later ones have what was left of it
    counts = [info for label, info in every.items() if requested is None or label in requested]
    fresh = [info for label, info in every.items() if label not in failed]
    return FetchInfo(
        {name: value for name, value in first.items() if name not in _OF_EACH},
        connection=None,
        **{
            name: min((info[name] for info in fresh if info[name]), default=None) for name in _TIMES
        },
        **{name: sum(info[name] for info in counts) for name in _COUNTS},
        complete=not failed and all(info.complete for info in every.values()),
        verified=not failed and all(info.verified for info in every.values()),
        connections={
            label: {name: info[name] for name in _OF_EACH if name in info}
            for label, info in every.items()
        },
        **({"failed": dict(failed)} if failed else {}),
    )


def brief(info: FetchInfo) -> dict[str, Any]:
    """Return a small copy for the attrs of a frame, with the numbers of its connections."""
    # pandas copies attrs with every column that is taken, and Parquet stores them as JSON.
    counts = {name: len(info[name]) for name in ("connections", "failed") if name in info}
    return copy.deepcopy({**info, **counts})


def summary(info: FetchInfo) -> str:
    """Return the most important values in a few words."""
    words = [f"fetched_at={info.fetched_at}"]
    if info.connections:
        words.append(counted(len(info.connections), "connection"))
    if info.failed:
        words.append(f"failed: {_first_labels(map(repr, info.failed))}")
    return plain("; ".join(words))


def describe(info: FetchInfo) -> list[str]:
    """Return what users should know of a fetch, a line for each fact."""
    filters = ", ".join(f"{name}={value!r}" for name, value in info.filters.items())
    lines = [f"requested: {filters or 'all orders'}"]
    if info.limit is not None:
        lines.append(f"limit: the server's first {info.limit:,}")
    if info.connection:
        lines.append(f"connection: {info.connection}")
    if info.connections:
        several = counted(len(info.connections), "connection")
        lines.append(f"{several}: {_first_labels(info.connections)}")
    if info.fetched_at:
        lines.append(
            f"fetched at {info.fetched_at}{', the oldest' if info.connections else ''}: "
            f"{counted(info.pages, 'page')}, {info.from_cache:,} of them from disk, "
            f"{counted(info.requests, 'request')}"
        )
    if info.duplicates:
        lines.append(f"{counted(info.duplicates, 'duplicate')} dropped")
    if info.pii != "keep":
        lines.append(f"personal data: pii={info.pii!r}")
    if info.failed:
        lines.append(f"FAILED, and missing or older: {_failures(info)}")
    if not info.complete:
        lines.append("INCOMPLETE: the fetch failed before its end")
    return list(map(plain, lines))


def warn_of_failed(info: FetchInfo) -> None:
    """Warn the caller of this package if connections are missing from what was read."""
    if not info.failed:
        return
    failed, every = len(info.failed), len({*info.connections, *info.failed})
    warn(
        f"{failed:,} of {every:,} connections failed when this was written, and "
        f"{'is' if failed == 1 else 'are'} missing or older: {_failures(info)}; "
        f"the same export or sync requests them again"
    )


def _failures(info: FetchInfo) -> str:
    return plain(", ".join(f"{label!r} ({words})" for label, words in info.failed.items()))


def _first_labels(labels: Iterable[str]) -> str:
    """Name some labels, and count the others."""
    labels = list(labels)
    more = len(labels) - _MAX_LABELS
    return ", ".join(labels[:_MAX_LABELS]) + (f" and {more:,} more" if more > 0 else "")
