"""Orders of the Trackstar WMS API as pandas dataframes.

>>> import trackstar_frames as tf
>>> from trackstar_frames.sandbox import Sandbox
>>> with Sandbox(orders=100) as sandbox:  # a local server of made-up orders
...     orders = tf.fetch_orders_df(client=sandbox.client(), status=["open", "packed"])
>>> set(orders["status"]) <= {"open", "packed"}
True

Fetch with `fetch_orders_df` (orders) or `fetch_orders` (orders, lines, shipments,
packages); keep with `write_snapshot`, `export_orders` and `sync_orders`; see what is amiss with
`data_quality`; judge with `ship_date_compliance` by an `SlaPolicy`, `fill_rates` and
`ship_otif`; see what is open or late, and how long orders take, with `backlog`, `late_orders` and
`cycle_time`; compare two snapshots with `diff_snapshots` and `status_transitions`; draw with
`plot_overview` (all on one page), `plot_status_mix`, `plot_ship_date_compliance`,
`plot_compliance_heatmap`, `plot_lateness`, `plot_backlog`, `plot_cycle_time` and
`plot_status_transitions`. On Dask, for many connections and machines, `fetch_orders_dask` and
`read_snapshot_dask` are lazy.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from trackstar_frames.between import diff_snapshots, due_date_changes, status_transitions
from trackstar_frames.client import TrackstarClient
from trackstar_frames.errors import (
    ApiError,
    AuthError,
    CredentialsError,
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
from trackstar_frames.history import order_history
from trackstar_frames.measures import (
    SlaPolicy,
    backlog,
    compliance_rate,
    cycle_time,
    cycle_time_curve,
    data_quality,
    fill_rates,
    late_orders,
    ship_date_compliance,
    ship_otif,
    status_mix,
)
from trackstar_frames.pages import Page
from trackstar_frames.schema import data_dictionary
from trackstar_frames.snapshots import Snapshot, list_snapshots, read_snapshot, write_snapshot
from trackstar_frames.sync import sync_orders
from trackstar_frames.thinning import thin_snapshots

if TYPE_CHECKING:
    from trackstar_frames.plots import (
        plot_backlog,
        plot_compliance_heatmap,
        plot_cycle_time,
        plot_lateness,
        plot_overview,
        plot_ship_date_compliance,
        plot_status_mix,
        plot_status_transitions,
    )
    from trackstar_frames.scale import fetch_orders_dask, read_snapshot_dask

__all__ = [
    "ApiError",
    "AuthError",
    "CredentialsError",
    "FilterError",
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
    "export_orders",
    "fetch_orders",
    "fetch_orders_dask",
    "fetch_orders_df",
    "fill_rates",
    "late_orders",
    "list_snapshots",
    "order_history",
    "plot_backlog",
    "plot_compliance_heatmap",
    "plot_cycle_time",
    "plot_lateness",
    "plot_overview",
    "plot_ship_date_compliance",
    "plot_status_mix",
    "plot_status_transitions",
    "read_snapshot",
    "read_snapshot_dask",
    "ship_date_compliance",
    "ship_otif",
    "status_mix",
    "status_transitions",
    "sync_orders",
    "thin_snapshots",
    "write_snapshot",
]

logging.getLogger("trackstar_frames").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load what is heavy, or computed, when it is first asked for."""
    if name.startswith("plot_") and name in __all__:
        from trackstar_frames import plots  # noqa: PLC0415  (matplotlib is an extra, and slow)

        return getattr(plots, name)
    if name.endswith("_dask") and name in __all__:
        from trackstar_frames import scale  # noqa: PLC0415  (so is dask)

        return getattr(scale, name)
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("trackstar_frames")
    raise AttributeError(f"module 'trackstar_frames' has no attribute {name!r}{_nearest(name)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _nearest(name: str) -> str:
    """Name what was meant; in notebooks Python's own hint is not shown."""
    if name.startswith("_"):  # tools ask for many, and nobody reads
        return ""
    import difflib  # noqa: PLC0415  (only where it is needed)

    near = difflib.get_close_matches(name, __all__, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; dir(trackstar_frames) lists what it has"
