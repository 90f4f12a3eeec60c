"""What each command does."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import trackstar_frames as tf
from trackstar_frames._text import counted
from trackstar_frames.cli.printing import first_rows, say, table
from trackstar_frames.errors import FilterError
from trackstar_frames.filters import FIELDS, encode, parse_name
from trackstar_frames.http.cache import PageCache
from trackstar_frames.settings import cache_dir
from trackstar_frames.snapshots.writer import check_target
from trackstar_frames.storage import locate

if TYPE_CHECKING:
    from trackstar_frames.sandbox import Sandbox

__all__ = ["cache", "demo", "export", "fetch", "read_filters", "sandbox", "snapshots", "sync"]


def demo(given: argparse.Namespace) -> None:
    """Fetch made-up orders over HTTP, and write a snapshot and two pictures."""
    folder = locate(given.folder, "--folder")
    plots, Sandbox = _shown()  # noqa: N806  (a class)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _serve(Sandbox, orders=given.orders, seed=given.seed) as sandbox,
        tempfile.TemporaryDirectory() as cache,
        sandbox.client(connection="demo", cache_dir=cache) as client,
    ):
        say(f"a local server holds {given.orders:,} made-up orders at {sandbox.base_url}")
        frames = tf.fetch_orders(client=client)
        again = tf.fetch_orders(client=client, progress=False)
    say(
        f"fetched {counted(len(frames.orders), 'order')} with "
        f"{counted(frames.info['requests'], 'request')}; "
        f"the same call again took {again.info['requests']}, from disk\n"
    )
    say(first_rows(frames.orders))
    judged = tf.ship_date_compliance(frames.orders)
    counts = judged["outcome"].value_counts(sort=False)
    say("\nship-date compliance: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    snapshot = tf.write_snapshot(frames, folder / "snapshots")
    pictures = {
        "status_mix.png": plots.plot_status_mix(frames.orders, freq="W"),
        "ship_date_compliance.png": plots.plot_ship_date_compliance(judged),
    }
    for name, axes in pictures.items():
        figure: Any = axes.figure
        figure.savefig(folder / name, dpi=120)
    say("\nwritten:")
    for path in (snapshot.path, *(folder / name for name in pictures)):
        say(f"  {path}")


def _shown() -> tuple[ModuleType, type[Sandbox]]:
    """Load what only the demo needs: pictures, to files rather than windows, and the server."""
    try:
        from matplotlib import use  # noqa: PLC0415  (an extra, as are the next)

        from trackstar_frames import plots  # noqa: PLC0415
        from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"No module named {error.name!r}; the demo needs the extra 'demo'", name=error.name
        ) from error
    use("Agg")
    return plots, Sandbox


def _serve(sandbox: type[Sandbox], **options: Any) -> Sandbox:
    """Make a server of what was given; it checks that itself."""
    try:
        return sandbox(**options)
    except ValueError as error:
        raise tf.SettingsError(str(error)) from None


def fetch(given: argparse.Namespace) -> None:
    """Fetch orders with the credentials of the environment."""
    asked = _asked(given)
    if given.output is not None:
        check_target(given.output, "--output")
    with _whom(given) as whom:
        frames = tf.fetch_orders(
            **whom,
            limit=given.limit,
            offline=given.offline,
            snapshot=given.snapshot,
            **asked,
        )
    if given.output is not None:
        frames.to_parquet(given.output)
        say(f"wrote {counted(len(frames.orders), 'order')} to {given.output}")
    else:
        say(first_rows(frames.orders))
    if len(frames.problems):
        say(f"{len(frames.problems):,} values are told in the table problems")


def export(given: argparse.Namespace) -> None:
    """Fetch orders straight to one more snapshot, however many there are."""
    asked = _asked(given)
    with _whom(given) as whom:
        snapshot = tf.export_orders(given.root, **whom, limit=given.limit, **asked)
    say(f"exported to {snapshot.path} with {counted(snapshot.info['requests'], 'request')}")


def sync(given: argparse.Namespace) -> None:
    """Ask for what has changed, and write the whole as one more snapshot."""
    asked = _asked(given)
    with _whom(given) as whom:
        lengths = {"overlap": given.overlap, "full_every": given.full_every}
        snapshot = tf.sync_orders(given.root, **whom, **lengths, **asked)
    done = snapshot.info["sync"]
    names = ("new", "changed", "unchanged") + (("gone",) if done["gone"] else ())
    counts = ", ".join(f"{done[name]:,} {name}" for name in names)
    say(f"synced to {snapshot.path} with {counted(snapshot.info['requests'], 'request')}: {counts}")


def snapshots(given: argparse.Namespace) -> None:
    """List the snapshots under a folder."""
    found = tf.list_snapshots(given.root)
    columns = ["name", "connection", "orders", "bytes", "written_at"]
    say(table(found[columns]) if len(found) else f"there are no snapshots under {given.root}")


def sandbox(given: argparse.Namespace) -> None:
    """Serve made-up orders until interrupted."""
    from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415  (an extra)

    with _serve(
        Sandbox,
        orders=given.orders,
        seed=given.seed,
        rate_limit=given.rate_limit or None,
        latency=given.latency,
        tokens=given.tokens,
        port=given.port,
    ) as sandbox:
        for name, value in sandbox.environment.items():
            say(f"export {name}={value}")
        say(f"# {given.orders:,} made-up orders; stop with Ctrl-C")
        try:
            while True:
                time.sleep(3600)  # of waits without an end, Windows lets Ctrl-C end this one only
        except KeyboardInterrupt:
            say("# stopped")


def cache(given: argparse.Namespace) -> None:
    """Tell what is cached, or delete it."""
    cache = PageCache(cache_dir())
    try:
        if given.action == "clear":
            say(f"deleted {counted(cache.clear(), 'page')} from {cache.path}")
            return
        for name, value in cache.info().items():
            say(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    finally:
        cache.close()


@contextmanager
def _whom(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Tell whom to ask: one connection, or several."""
    if given.connections:
        named = dict(map(_source, given.connections))
        if len(named) < len(given.connections):
            raise tf.SettingsError("--connections names a label twice; give each its own")
        yield {"connections": named}
        return
    with tf.TrackstarClient(connection=given.connection) as client:
        yield {"client": client}


def _source(text: str) -> tuple[str, str]:
    """Read ``label=variable``; never shown where it cannot be, as it may be a token."""
    label, equals, variable = text.partition("=")
    if not (equals and variable):
        raise tf.SettingsError(
            "--connections takes LABEL=VARIABLE, where the variable of the environment holds the "
            "token, and is never the token itself"
        )
    return label, variable


def _asked(given: argparse.Namespace) -> dict[str, Any]:
    """Read the filters and options that all who ask the server take."""
    filters = read_filters(given.filters)
    encode(filters)
    names = ("page_size", "max_workers", "refresh", "verify", "pii")
    return filters | {name: getattr(given, name) for name in names}


def read_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Read all filters; one that is given more than once is a list, or an error.

    Raises
    ------
    FilterError
        If one cannot be read, or two of them contradict each other.
    """
    filters: dict[str, Any] = {}
    names: dict[tuple[str, str], str] = {}  # as they were spelt first
    for text in texts:
        name, value = _filter(text)
        field, operator = _meant(name)
        first = names.setdefault((field, operator), name)
        if first in filters:
            if not (_is_listable(first) and _is_listable(name)):
                raise FilterError(_twice(name, field, operator))
            value = [*_values(filters[first]), *_values(value)]
        filters[first] = value
    for field, operator in names:
        if operator == "eq" and (field, "in") in names:
            raise FilterError(
                f"{names[field, 'eq']} and {names[field, 'in']} are both given, and an order must "
                f"meet both; write {field}__in with all values, separated by commas"
            )
    return filters


def _filter(text: str) -> tuple[str, Any]:
    """Read ``name=value``; a list's values are separated by commas, as the API has them."""
    name, equals, value = text.partition("=")
    if not equals:
        raise FilterError(f"{text!r} is no filter; write FIELD=VALUE or FIELD__OP=VALUE")
    field, operator = _meant(name)
    if _is_list(operator):
        return name, value.split(",")
    several, kind = _list_of(field, operator), FIELDS[field].kind
    is_plain = parse_name(name)[1] is None
    if "," in value and several and (is_plain or kind == "enum"):
        alone = f"; for one text with commas, {field}__eq={value}" if kind == "string" else ""
        raise FilterError(
            f"{text!r} takes one value, and has commas; for several write {several}={value}{alone}"
        )
    return name, value


def _is_listable(name: str) -> bool:
    """Tell whether a filter that is given again is a list: a plain one means ``in`` then."""
    field, operator = _meant(name)
    is_plain = parse_name(name)[1] is None
    return _is_list(operator) or (is_plain and _list_of(field, operator) is not None)


def _twice(name: str, field: str, operator: str) -> str:
    several = _list_of(field, operator)
    instead = f", or write {several} with all values, separated by commas" if several else ""
    return f"{name} is given twice, and takes one value; give it once{instead}"


def _meant(name: str) -> tuple[str, str]:
    """Tell the field and the operator of a filter, also where it does not name one."""
    field, operator = parse_name(name)
    return field, operator or FIELDS[field].plain or ""


def _list_of(field: str, operator: str) -> str | None:
    """Name the filter that takes several of the values of which this one takes one."""
    several = {"eq": "in", "neq": "nin", "eq-insensitive": "in-insensitive"}.get(operator)
    there = several in FIELDS[field].operators
    return f"{field}__{several}".replace("-", "_") if there else None


def _is_list(operator: str) -> bool:
    return operator.partition("-")[0] in ("in", "nin")


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
