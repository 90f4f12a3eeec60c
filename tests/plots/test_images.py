"""What each picture looks like, compared with images in the folder `baseline`.

After an intended change, look at the new ones and keep them:
`pytest -n 0 tests/plots/test_images.py --mpl-generate-path=tests/plots/baseline`
"""

import pytest
from helpers.pictures import make_orders

import trackstar_frames as tf

# The difference is a root mean square over all pixels and colours, of 255.
looks_like = pytest.mark.mpl_image_compare(
    style="default", tolerance=2, savefig_kwargs={"dpi": 60}, deterministic=True
)
WAREHOUSES = ["north"] * 5 + ["south"] * 3 + ["east", "$a_b$ with a name too long for any label"]


@pytest.fixture(scope="module")
def history():
    return make_orders(1200, WAREHOUSES, seed=1)


@looks_like
def test_lateness(history):
    return tf.plot_lateness(history).figure


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


@looks_like
def test_overview(history):
    return tf.plot_overview(history)


@pytest.mark.slow
@looks_like
def test_overview_of_nothing():
    return tf.plot_overview(make_orders(0))
