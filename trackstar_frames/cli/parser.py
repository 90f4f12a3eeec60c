"""The command line: its arguments, their help, and the filters among them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import trackstar_frames as tf
from trackstar_frames.cli import commands
from trackstar_frames.errors import FilterError
from trackstar_frames.filters import FIELDS, encode, parse_name
from trackstar_frames.settings import PII


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; filters may stand before and after options."""
    parser = _make_parser()
    args, extra = parser.parse_known_args(argv)
    if extra and hasattr(args, "filters") and not any(each.startswith("-") for each in extra):
        # argparse collects repeated positional arguments from one place only.
        args.filters = [*args.filters, *extra]
    elif extra:
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    if hasattr(args, "filters"):
        args.filters = _parse_filters(args.filters)
        encode(args.filters)  # checks them
    return args


def _make_parser() -> _Parser:
    main = _Parser(
        prog="trackstar-frames",
        description="Orders of the Trackstar WMS API as dataframes.",
        epilog="Credentials: TRACKSTAR_API_KEY and TRACKSTAR_ACCESS_TOKEN.",
    )
    main.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = main.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        name, text = run.__name__, run.__doc__
        parser: _Parser = subparsers.add_parser(name, help=text, description=text)
        parser.set_defaults(run=run)
        return parser

    demo = command(commands.demo)
    demo.add_argument("--folder", default="trackstar-demo", help="where to write (%(default)s)")
    _add_sandbox_options(demo)

    fetch = command(commands.fetch)
    _add_fetch_options(fetch, refresh="ask the server again")
    add = fetch.add_argument
    add("--output", type=_folder, metavar="FOLDER", help="write all tables to FOLDER, as Parquet")
    add("--snapshot", type=_folder, metavar="ROOT", help="write a new snapshot under ROOT")
    _add_limit(fetch)
    add("--offline", action="store_true", help="read from disk only")

    export = command(commands.export)
    _add_root(export)
    _add_fetch_options(export, refresh="start over, even if an earlier export could be resumed")
    _add_limit(export)

    sync = command(commands.sync)
    _add_root(sync)
    _add_fetch_options(sync, refresh="start over, even if an earlier sync could be resumed")
    add = sync.add_argument
    add("--overlap", default="2h", help="how far to look back before the last sync (%(default)s)")
    full_every = "fetch all orders if the last time was so long ago (7D), and drop deleted ones"
    add("--full-every", metavar="LENGTH", help=full_every)

    _add_root(command(commands.snapshots))

    sandbox = command(commands.sandbox)
    _add_sandbox_options(sandbox)
    add = sandbox.add_argument
    add("--port", type=int, default=0, help="0 is any free port (%(default)s)")
    rate_limit = "requests per second, 0: no limit (%(default)s)"
    add("--rate-limit", type=int, default=10, help=rate_limit)
    tokens = "connections, each with its orders (%(default)s)"
    add("--tokens", type=_count, default=1, help=tokens)
    add("--latency", type=float, default=0.0, help="seconds for each response")

    cache = command(commands.cache)
    cache.add_argument("action", choices=["info", "clear"], help="describe or empty the cache")
    return main


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", type=_folder, metavar="ROOT", help="the folder of all snapshots")


def _add_limit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=int, help="at most this many orders")


def _add_fetch_options(command: argparse.ArgumentParser, *, refresh: str) -> None:
    add = command.add_argument
    filters = "for example created_date__gte=2026-01-01 status__in=open,packed"
    add("filters", nargs="*", default=[], metavar="FILTER=VALUE", help=filters)
    add("--page-size", type=int, default=1000, help="orders per request")
    add("--max-workers", type=int, default=8, help="pages fetched in parallel (%(default)s)")
    either = command.add_mutually_exclusive_group().add_argument
    either("--connection", help="a label for the data")
    several = "one of several connections, and the environment variable of its token; repeatable"
    either("--connections", action="append", metavar="LABEL=VARIABLE", help=several)
    add("--refresh", action="store_true", help=refresh)
    add("--verify", action="store_true", help="read until two readings agree, or fail")
    pii = "how to treat personal data (%(default)s); hash needs TRACKSTAR_PII_KEY"
    add("--pii", choices=PII, default="keep", help=pii)


def _add_sandbox_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--orders", type=_count, default=5000, help="how many (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="random seed (%(default)s)")


def _folder(text: str) -> str:
    """Refuse a filter given as a folder: it would be taken for the name of one."""
    if re.match(r"[\w\[\]-]+=", text) and not Path(text).exists():
        raise argparse.ArgumentTypeError(
            f"{text!r} looks like a filter, where the path of a folder is needed; put the folder "
            f"before it, or write './{text}' for a folder of that name"
        )
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """A parser that prints errors on one line, and accepts each option once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        self.register("action", None, _StoreOnce)  # the default action

    def print_help(self, file: object = None) -> None:  # noqa: ARG002  (always standard output)
        commands.echo(self.format_help())  # argparse itself ignores errors of the output

    def error(self, message: str) -> NoReturn:
        sys.exit(commands.print_error(f"{message} (see {self.prog} --help)", 2))


class _StoreOnce(argparse.Action):
    """Store the value of an option; a second one is an error, where argparse would replace it."""

    _is_stored = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None and self._is_stored:
            parser.error(f"{option_string} is given twice; give it once")
        self._is_stored = True
        setattr(namespace, self.dest, values)


class _Version(argparse.Action):
    """Print the version, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        commands.echo(tf.__version__)
        parser.exit()


class _Filter(NamedTuple):
    """A filter of the command line."""

    name: str
    field: str
    operator: str  # the default one if the name has none
    is_plain: bool
    value: Any

    @property
    def is_list(self) -> bool:
        return self.operator.partition("-")[0] in ("in", "nin")

    @property
    def list_name(self) -> str | None:
        """The filter that takes a list of the values of this one."""
        several = {"eq": "in", "neq": "nin", "eq-insensitive": "in-insensitive"}.get(self.operator)
        exists = several in FIELDS[self.field].operators
        return f"{self.field}__{several}".replace("-", "_") if exists else None

    @property
    def can_repeat(self) -> bool:
        """Whether repeating the filter makes a list; of a plain one it makes ``in``."""
        return self.is_list or (self.is_plain and self.list_name is not None)

    @property
    def values(self) -> list[Any]:
        return self.value if isinstance(self.value, list) else [self.value]


def _parse_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Parse filters; one that is given more than once becomes a list, or is an error."""
    filters: dict[tuple[str, str], _Filter] = {}
    for each in map(_parse_filter, texts):
        key = (each.field, each.operator)
        first = filters.setdefault(key, each)
        if first is not each:
            if not (first.can_repeat and each.can_repeat):
                several = each.list_name
                hint = f", or write {several} with all values, separated by commas"
                raise FilterError(
                    f"{each.name} is given twice, and takes one value; give it once"
                    f"{hint if several else ''}"
                )
            filters[key] = first._replace(value=first.values + each.values)
    for field, operator in filters:
        if operator == "eq" and (field, "in") in filters:
            raise FilterError(
                f"{filters[field, 'eq'].name} and {filters[field, 'in'].name} are both given, and "
                f"an order must meet both; write {field}__in with all values, separated by commas"
            )
    return {each.name: each.value for each in filters.values()}


def _parse_filter(text: str) -> _Filter:
    """Parse ``name=value``; commas separate the values of a list, as in the API."""
    name, equals, value = text.partition("=")
    if not equals:
        raise FilterError(f"{text!r} is not a filter; write FIELD=VALUE or FIELD__OP=VALUE")
    field, operator = parse_name(name)
    given = _Filter(
        name, field, operator or FIELDS[field].plain or "", is_plain=operator is None, value=value
    )
    if given.is_list:
        return given._replace(value=value.split(","))
    several, kind = given.list_name, FIELDS[field].kind
    if "," in value and several and (given.is_plain or kind == "enum"):
        hint = f"; for one text with commas, {field}__eq={value}" if kind == "string" else ""
        raise FilterError(
            f"{text!r} takes one value, and has commas; for several write {several}={value}{hint}"
        )
    return given
