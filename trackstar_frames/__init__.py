"""Orders of the Trackstar WMS API as pandas dataframes.

>>> import trackstar_frames as tf
>>> from trackstar_frames.sandbox import Sandbox
>>> with Sandbox(orders=100) as sandbox:  # a local server of made-up orders
...     orders = tf.fetch_orders_df(client=sandbox.client(), status=["open", "packed"])
>>> set(orders["status"]) <= {"open", "packed"}
True

Fetch orders with `fetch_orders_df`, or orders, lines, shipments and packages with `fetch_orders`.
Keep them in snapshots with `write_snapshot`, `export_orders` and `sync_orders`, and compare
snapshots with `diff_snapshots` and `status_transitions`. Check the data with `data_quality`.
Measure them with `ship_date_compliance`, by an `SlaPolicy`, `fill_rates`, `ship_otif`, `backlog`,
`late_orders` and `cycle_time`. Draw them with `plot_overview` (all on one page),
`plot_status_mix`, `plot_ship_date_compliance`, `plot_compliance_heatmap`, `plot_lateness`,
`plot_backlog`, `plot_due_next`, `plot_scorecard`, `plot_throughput`, `plot_cycle_time` and
`plot_status_transitions`. For many connections and
machines, `fetch_orders_dask` and `read_snapshot_dask` return lazy Dask dataframes.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackstar_frames.client import TrackstarClient
    from trackstar_frames.distributed import fetch_orders_dask, read_snapshot_dask
    from trackstar_frames.errors import (
        ApiError,
        AuthError,
        CredentialsError,
        FilteredOrdersWarning,
        FilterError,
        IncompleteFetchError,
        NetworkError,
        NotSupportedError,
        OfflineMissError,
        RateLimitError,
        ResponseError,
        ServerError,
        SettingsError,
        SnapshotError,
        TrackstarError,
    )
    from trackstar_frames.export import export_orders
    from trackstar_frames.fetch import fetch_orders, fetch_orders_df
    from trackstar_frames.frames import OrderFrames
    from trackstar_frames.info import FetchInfo
    from trackstar_frames.measures.backlog import backlog
    from trackstar_frames.measures.compliance_rate import compliance_rate
    from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve
    from trackstar_frames.measures.data_quality import data_quality
    from trackstar_frames.measures.due_next import due_next
    from trackstar_frames.measures.failure_rates import failure_rates
    from trackstar_frames.measures.fill_rates import fill_rates
    from trackstar_frames.measures.late_orders import late_orders
    from trackstar_frames.measures.policy import SlaPolicy
    from trackstar_frames.measures.service_profile import service_profile
    from trackstar_frames.measures.ship_date_compliance import ship_date_compliance
    from trackstar_frames.measures.ship_otif import ship_otif
    from trackstar_frames.measures.shipping_costs import shipping_costs
    from trackstar_frames.measures.sla_scorecard import sla_scorecard
    from trackstar_frames.measures.status_mix import status_mix
    from trackstar_frames.measures.throughput import throughput
    from trackstar_frames.pagination.pages import Page
    from trackstar_frames.plots import (
        plot_backlog,
        plot_compliance_heatmap,
        plot_cycle_time,
        plot_due_next,
        plot_lateness,
        plot_overview,
        plot_scorecard,
        plot_ship_date_compliance,
        plot_status_mix,
        plot_status_transitions,
        plot_throughput,
    )
    from trackstar_frames.schema import data_dictionary
    from trackstar_frames.snapshots.catalog import list_snapshots, prune_snapshots
    from trackstar_frames.snapshots.diff import diff_snapshots, due_date_changes, status_transitions
    from trackstar_frames.snapshots.history import order_history
    from trackstar_frames.snapshots.promises import first_promises
    from trackstar_frames.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
    from trackstar_frames.sync import sync_orders

__all__ = [
    "ApiError",
    "AuthError",
    "CredentialsError",
    "FetchInfo",
    "FilterError",
    "FilteredOrdersWarning",
    "IncompleteFetchError",
    "NetworkError",
    "NotSupportedError",
    "OfflineMissError",
    "OrderFrames",
    "Page",
    "RateLimitError",
    "ResponseError",
    "ServerError",
    "SettingsError",
    "SlaPolicy",
    "Snapshot",
    "SnapshotError",
    "TrackstarClient",
    "TrackstarError",
    "backlog",
    "compliance_rate",
    "cycle_time",
    "cycle_time_curve",
    "data_dictionary",
    "data_quality",
    "diff_snapshots",
    "due_date_changes",
    "due_next",
    "export_orders",
    "failure_rates",
    "fetch_orders",
    "fetch_orders_dask",
    "fetch_orders_df",
    "fill_rates",
    "first_promises",
    "late_orders",
    "list_snapshots",
    "order_history",
    "plot_backlog",
    "plot_compliance_heatmap",
    "plot_cycle_time",
    "plot_due_next",
    "plot_lateness",
    "plot_overview",
    "plot_scorecard",
    "plot_ship_date_compliance",
    "plot_status_mix",
    "plot_status_transitions",
    "plot_throughput",
    "prune_snapshots",
    "read_snapshot",
    "read_snapshot_dask",
    "service_profile",
    "ship_date_compliance",
    "ship_otif",
    "shipping_costs",
    "sla_scorecard",
    "status_mix",
    "status_transitions",
    "sync_orders",
    "throughput",
    "write_snapshot",
]

#: The module of each name. A module is loaded when one of its names is first used, so that
#: importing the package is fast.
_MODULES = {
    "client": ("TrackstarClient",),
    "distributed": ("fetch_orders_dask", "read_snapshot_dask"),
    "errors": tuple(name for name in __all__ if name.endswith(("Error", "Warning"))),
    "export": ("export_orders",),
    "fetch": ("fetch_orders", "fetch_orders_df"),
    "frames": ("OrderFrames",),
    "info": ("FetchInfo",),
    "measures": (
        "SlaPolicy",
        "backlog",
        "compliance_rate",
        "cycle_time",
        "cycle_time_curve",
        "data_quality",
        "due_next",
        "failure_rates",
        "fill_rates",
        "late_orders",
        "service_profile",
        "ship_date_compliance",
        "ship_otif",
        "shipping_costs",
        "sla_scorecard",
        "status_mix",
        "throughput",
    ),
    "pagination.pages": ("Page",),
    "plots": tuple(name for name in __all__ if name.startswith("plot_")),
    "schema": ("data_dictionary",),
    "snapshots.catalog": ("list_snapshots", "prune_snapshots"),
    "snapshots.diff": ("diff_snapshots", "due_date_changes", "status_transitions"),
    "snapshots.history": ("order_history",),
    "snapshots.promises": ("first_promises",),
    "snapshots.snapshot": ("Snapshot", "read_snapshot", "write_snapshot"),
    "sync": ("sync_orders",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
#: The modules that need an extra, and a package that comes with it.
_EXTRAS = {"plots": "matplotlib", "distributed": "distributed"}

logging.getLogger("trackstar_frames").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load a name's module, or the version."""
    if name in _MODULE_OF:
        return getattr(import_module(f"trackstar_frames.{_MODULE_OF[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  (slow, and rarely needed)

        return version("trackstar_frames")
    raise AttributeError(f"module 'trackstar_frames' has no attribute {name!r}{_nearest(name)}")


def __dir__() -> list[str]:
    # Names that need an extra that is not installed would make `help` and completion fail.
    missing = {module for module, needed in _EXTRAS.items() if find_spec(needed) is None}
    return sorted(["__version__", *(name for name in __all__ if _MODULE_OF[name] not in missing)])


def _nearest(name: str) -> str:
    """Suggest the nearest name, as notebooks do not show Python's own hint."""
    if name.startswith("_"):  # looked up by tools
        return ""
    import difflib  # noqa: PLC0415  (only where it is needed)

    near = difflib.get_close_matches(name, __all__, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; dir(trackstar_frames) lists what it has"
