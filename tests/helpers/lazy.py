"""What a lazy fetch must give: the same in plain pandas."""

import pandas as pd
import pyarrow as pa

import trackstar_frames as tf


def fetch_plain(sandbox, *, labels=("acme", "beta"), dtype_backend=None, **filters):
    """Fetch each connection alone, in plain pandas, and put the frames below one another."""
    frames = []
    for token, label in enumerate(labels):
        with sandbox.client(token, cache=False, rate_limit=None) as client:
            frame = tf.fetch_orders_df(client=client, dtype_backend=dtype_backend, **filters)
        frame.insert(0, "connection", label)
        frame["status"] = frame["status"].cat.as_unordered()
        frames.append(frame)
    text = pd.ArrowDtype(pa.string()) if dtype_backend else frames[0]["id"].dtype
    return pd.concat(frames, ignore_index=True).astype({"connection": text})


def sort_rows(frame):
    """Sort rows as `fetch_plain` does."""
    return frame.sort_values(["connection", "created_date", "id"], ignore_index=True)
