"""The same work on Dask: many connections, many machines; the only room with dask.

`fetch_orders_dask` fetches lazily, a task for each connection and stretch of time;
`read_snapshot_dask` reads a snapshot lazily, a task for each part. Tokens stay where they are
used: a task holds the name of an environment variable, or of a function, and the worker opens the
client. One token is used by one worker at a time, see `turn`.
"""

__all__ = ["DaskFrames", "ask_workers", "fetch_orders_dask", "read_snapshot_dask", "turn"]


try:
    from trackstar_frames.distributed.fetching import fetch_orders_dask
    from trackstar_frames.distributed.snapshots import DaskFrames, read_snapshot_dask
    from trackstar_frames.distributed.workers import ask_workers, turn
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error}; Dask needs the extra 'dask': install trackstar_frames[dask]",
        name=error.name,
    ) from error
