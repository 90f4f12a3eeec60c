"""What was ordered and has shipped of each order, and when, in plain SQL."""

import pytest

COLUMNS = ["units_ordered", "units_shipped", "units_overshipped", "first_shipped_date"]
COLUMNS += ["last_shipped_date", "complete_shipped_date"]


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
)
def test_the_columns_of_orders_are_those_of_sql(seed, spoilt):
    given = spoilt(seed)
    query = f"select id, {', '.join(COLUMNS)} from lives"
    expected = {key: row for key, *row in given.sql.execute(query).fetchall()}
    orders = given.frames.to_arrow()["orders"]
    columns = [column.cast("int64").to_pylist() for column in orders.select(COLUMNS).itercolumns()]
    rows = map(list, zip(*columns, strict=True))
    assert dict(zip(orders["id"].to_pylist(), rows, strict=True)) == expected
