"""The commands, whose docstrings are their help, and the filters that they take."""

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
from trackstar_frames.cli.printing import echo, format_orders, format_table
from trackstar_frames.errors import FilterError
from trackstar_frames.filters import FIELDS, encode, parse_name
from trackstar_frames.http.cache import PageCache
from trackstar_frames.settings import cache_dir
from trackstar_frames.snapshots.writer import check_target
from trackstar_frames.storage import locate

if TYPE_CHECKING:
    from trackstar_frames.sandbox import Sandbox

__all__ = ["cache", "demo", "export", "fetch", "sandbox", "snapshots", "sync"]


def demo(args: argparse.Namespace) -> None:
    """Fetch generated orders over HTTP, and write a snapshot and two pictures."""
    folder = locate(args.folder, "--folder")
    plots, Sandbox = _import_demo()  # noqa: N806  (a class)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _make_sandbox(Sandbox, orders=args.orders, seed=args.seed) as sandbox,
        tempfile.TemporaryDirectory() as cache,
        sandbox.client(connection="demo", cache_dir=cache) as client,
    ):
        echo(f"a local server has {args.orders:,} generated orders at {sandbox.base_url}")
        frames = tf.fetch_orders(client=client)
        cached = tf.fetch_orders(client=client, progress=False)
    echo(
        f"fetched {counted(len(frames.orders), 'order')} with "
        f"{counted(frames.info['requests'], 'request')}; "
        f"the same call again took {cached.info['requests']}, from disk\n"
    )
    echo(format_orders(frames.orders))
    compliance = tf.ship_date_compliance(frames.orders)
    counts = compliance["outcome"].value_counts(sort=False)
    echo("\nship-date compliance: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    snapshot = tf.write_snapshot(frames, folder / "snapshots")
    pictures = {
        "status_mix.png": plots.plot_status_mix(frames.orders, freq="W"),
        "ship_date_compliance.png": plots.plot_ship_date_compliance(compliance),
    }
    for name, axes in pictures.items():
        figure: Any = axes.figure
        figure.savefig(folder / name, dpi=120)
    echo("\nwritten:")
    for path in (snapshot.path, *(folder / name for name in pictures)):
        echo(f"  {path}")


def _import_demo() -> tuple[ModuleType, type[Sandbox]]:
    """Import plots, which draw to files and not to windows, and the sandbox: both are extras."""
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


def _make_sandbox(sandbox: type[Sandbox], **options: Any) -> Sandbox:
    try:
        return sandbox(**options)
    except ValueError as error:
        raise tf.SettingsError(str(error)) from None


def fetch(args: argparse.Namespace) -> None:
    """Fetch orders with the credentials of the environment."""
    options = _request_options(args)
    if args.output is not None:
        check_target(args.output, "--output")
    with _connect(args) as connection:
        frames = tf.fetch_orders(
            **connection,
            limit=args.limit,
            offline=args.offline,
            snapshot=args.snapshot,
            **options,
        )
    if args.output is not None:
        frames.to_parquet(args.output)
        echo(f"wrote {counted(len(frames.orders), 'order')} to {args.output}")
    else:
        echo(format_orders(frames.orders))
    if len(frames.problems):
        echo(f"{counted(len(frames.problems), 'problem')}; see the table problems")


def export(args: argparse.Namespace) -> None:
    """Fetch orders straight into a new snapshot, however many there are."""
    options = _request_options(args)
    with _connect(args) as connection:
        snapshot = tf.export_orders(args.root, **connection, limit=args.limit, **options)
    echo(f"exported to {snapshot.path} with {counted(snapshot.info['requests'], 'request')}")


def sync(args: argparse.Namespace) -> None:
    """Fetch what has changed, and write all orders as a new snapshot."""
    options = _request_options(args)
    options |= {"overlap": args.overlap, "full_every": args.full_every}
    with _connect(args) as connection:
        snapshot = tf.sync_orders(args.root, **connection, **options)
    done = snapshot.info["sync"]
    names = ("new", "changed", "unchanged") + (("gone",) if done["gone"] else ())
    counts = ", ".join(f"{done[name]:,} {name}" for name in names)
    requests = counted(snapshot.info["requests"], "request")
    echo(f"synced to {snapshot.path} with {requests}: {counts}")


def snapshots(args: argparse.Namespace) -> None:
    """List the snapshots under a folder."""
    found = tf.list_snapshots(args.root)
    if found.empty:
        echo(f"there are no snapshots under {args.root}")
    else:
        echo(format_table(found[["name", "connection", "orders", "bytes", "written_at"]]))


def sandbox(args: argparse.Namespace) -> None:
    """Serve generated orders until interrupted."""
    from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415  (an extra)

    with _make_sandbox(
        Sandbox,
        orders=args.orders,
        seed=args.seed,
        rate_limit=args.rate_limit or None,
        latency=args.latency,
        tokens=args.tokens,
        port=args.port,
    ) as sandbox:
        for name, value in sandbox.environment.items():
            echo(f"export {name}={value}")
        echo(f"# {args.orders:,} generated orders; stop with Ctrl-C")
        try:
            while True:
                time.sleep(3600)  # on Windows, Ctrl-C does not end a wait without a timeout
        except KeyboardInterrupt:
            echo("# stopped")


def cache(args: argparse.Namespace) -> None:
    """Describe the cache of pages, or empty it."""
    cache = PageCache(cache_dir())
    try:
        if args.action == "clear":
            echo(f"deleted {counted(cache.clear(), 'page')} from {cache.path}")
            return
        for name, value in cache.info().items():
            echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    finally:
        cache.close()


@contextmanager
def _connect(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the client or the connections of a call, as its arguments."""
    if args.connections:
        connections = dict(map(_parse_connection, args.connections))
        if len(connections) < len(args.connections):
            raise tf.SettingsError("--connections has the same label twice; labels must differ")
        yield {"connections": connections}
        return
    with tf.TrackstarClient(connection=args.connection) as client:
        yield {"client": client}


def _parse_connection(text: str) -> tuple[str, str]:
    label, equals, variable = text.partition("=")
    if not (equals and variable):
        # The text is not shown, as it may be a token.
        raise tf.SettingsError(
            "--connections takes LABEL=VARIABLE, where VARIABLE is the environment variable that "
            "holds the token, never the token itself"
        )
    return label, variable


def _request_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the filters, validated, and the options that fetch, export and sync share."""
    filters = _parse_filters(args.filters)
    encode(filters)
    names = ("page_size", "max_workers", "refresh", "verify", "pii")
    return filters | {name: getattr(args, name) for name in names}


def _parse_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Parse filters; one that is given more than once becomes a list, or is an error."""
    filters: dict[str, Any] = {}
    names: dict[tuple[str, str], str] = {}  # in their first spelling
    for text in texts:
        name, value = _parse_filter(text)
        field, operator = _field_and_operator(name)
        first = names.setdefault((field, operator), name)
        if first in filters:
            if not (_can_repeat(first) and _can_repeat(name)):
                several = _list_filter(field, operator)
                hint = f", or write {several} with all values, separated by commas"
                raise FilterError(
                    f"{name} is given twice, and takes one value; give it once"
                    f"{hint if several else ''}"
                )
            value = [*_as_list(filters[first]), *_as_list(value)]
        filters[first] = value
    for field, operator in names:
        if operator == "eq" and (field, "in") in names:
            raise FilterError(
                f"{names[field, 'eq']} and {names[field, 'in']} are both given, and an order must "
                f"meet both; write {field}__in with all values, separated by commas"
            )
    return filters


def _parse_filter(text: str) -> tuple[str, Any]:
    """Parse ``name=value``; commas separate the values of a list, as in the API."""
    name, equals, value = text.partition("=")
    if not equals:
        raise FilterError(f"{text!r} is not a filter; write FIELD=VALUE or FIELD__OP=VALUE")
    field, operator = _field_and_operator(name)
    if _is_list(operator):
        return name, value.split(",")
    several, kind = _list_filter(field, operator), FIELDS[field].kind
    if "," in value and several and (_is_plain(name) or kind == "enum"):
        hint = f"; for one text with commas, {field}__eq={value}" if kind == "string" else ""
        raise FilterError(
            f"{text!r} takes one value, and has commas; for several write {several}={value}{hint}"
        )
    return name, value


def _field_and_operator(name: str) -> tuple[str, str]:
    """Return the field and the operator of a filter, the default one if it names none."""
    field, operator = parse_name(name)
    return field, operator or FIELDS[field].plain or ""


def _is_plain(name: str) -> bool:
    return parse_name(name)[1] is None


def _is_list(operator: str) -> bool:
    return operator.partition("-")[0] in ("in", "nin")


def _can_repeat(name: str) -> bool:
    """Return whether a filter given again extends a list; for a plain one it means ``in``."""
    field, operator = _field_and_operator(name)
    return _is_list(operator) or (_is_plain(name) and _list_filter(field, operator) is not None)


def _list_filter(field: str, operator: str) -> str | None:
    """Return the filter that takes a list of the values of which this one takes one."""
    several = {"eq": "in", "neq": "nin", "eq-insensitive": "in-insensitive"}.get(operator)
    exists = several in FIELDS[field].operators
    return f"{field}__{several}".replace("-", "_") if exists else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
