"""What each picture looks like, compared with images in the folder `baseline`.

After an intended change, look at the new ones and keep them:
`pytest -n 0 tests/plots/test_images.py --mpl-generate-path=tests/plots/baseline`
"""

import pandas as pd
import pytest
from helpers.pictures import make_orders
from matplotlib import pyplot as plt

import trackstar_frames as tf

# The difference is a root mean square over all pixels and colours, of 255.
looks_like = pytest.mark.mpl_image_compare(
    style="default", tolerance=2, savefig_kwargs={"dpi": 60}, deterministic=True
)
WAREHOUSES = ["north"] * 5 + ["south"] * 3 + ["east", "$a_b$ with a name too long for any label"]


@pytest.fixture(scope="module")
def history():
    return make_orders(1200, WAREHOUSES, seed=1)


def frames_of(orders):
    """Make frames of all tables from orders, each with one shipment."""

    def text(moment):
        return None if pd.isna(moment) else moment.isoformat()

    given = [
        {
            "id": str(number),
            "status": row.status,
            "created_date": text(row.created_date),
            "line_items": [{"sku": "A", "quantity": row.units_ordered}],
            "shipments": [
                {
                    "shipped_date": text(row.complete_shipped_date),
                    "line_items": [{"sku": "A", "quantity": row.units_ordered}],
                }
            ],
        }
        for number, row in enumerate(orders.itertuples())
    ]
    frames = tf.OrderFrames.from_json(given)
    frames.orders.attrs["trackstar"] = orders.attrs["trackstar"]
    return frames


@looks_like
def test_lateness(history):
    return tf.plot_lateness(history).figure


@pytest.mark.slow
@looks_like
def test_lateness_by_group(history):
    return tf.plot_lateness(history, by="warehouse_id").figure


@looks_like
def test_compliance_by_group(history):
    return tf.plot_ship_date_compliance(history, by="warehouse_id").figure


@looks_like
def test_backlog(history):
    return tf.plot_backlog(history).figure


@looks_like
def test_backlog_by_group(history):
    return tf.plot_backlog(history, by="warehouse_id").figure


@looks_like
def test_cycle_time(history):
    return tf.plot_cycle_time(history).figure


@looks_like
def test_cycle_time_by_group(history):
    return tf.plot_cycle_time(history, by="warehouse_id").figure


@looks_like
def test_compliance_heatmap(history):
    return tf.plot_compliance_heatmap(history).figure


@pytest.mark.slow
@looks_like
def test_compliance_of_two_policies(history):
    policies = {
        "web": tf.SlaPolicy.d2c_noon_cut_off(target=0.95),
        None: tf.SlaPolicy.b2b_four_business_days(target=0.9),
    }
    given = {"policy": policies, "policy_by": "channel", "labels": {"web": "Web shop"}}
    return tf.plot_ship_date_compliance(history, **given).figure


@pytest.mark.slow
@looks_like
def test_compliance_of_many_groups():
    names = [f"w{n}" for n in range(10)] + ["w1"] * 6 + [None] * 2
    frame = make_orders(2400, names, seed=2)
    policy = tf.SlaPolicy(target=0.9)
    return tf.plot_ship_date_compliance(frame, by="warehouse_id", policy=policy).figure


@looks_like
def test_due_next(history):
    return tf.plot_due_next(history).figure


@looks_like
def test_scorecard(history):
    policy = tf.SlaPolicy(target=0.75)
    return tf.plot_scorecard(history, policy=policy, by="warehouse_id").figure


@looks_like
def test_throughput(history):
    return tf.plot_throughput(frames_of(history), freq="W").figure


@pytest.mark.slow
@looks_like
def test_throughput_by_hour(history):
    return tf.plot_throughput(frames_of(history), freq="hour").figure


@pytest.mark.slow
@looks_like
def test_a_grid_of_plots(history):
    figure, grid = plt.subplots(2, 2)
    tf.plot_ship_date_compliance(history, policy=tf.SlaPolicy(target=0.8), ax=grid[0, 0])
    tf.plot_lateness(history, by="warehouse_id", ax=grid[0, 1])
    tf.plot_due_next(history, ax=grid[1, 0])
    tf.plot_status_mix(history, freq="W", ax=grid[1, 1])
    return figure


@looks_like
def test_overview(history):
    return tf.plot_overview(history)


@pytest.mark.slow
@looks_like
def test_overview_of_nothing():
    return tf.plot_overview(make_orders(0))
