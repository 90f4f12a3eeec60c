"""Typed filters: an editor completes them, and a type checker knows a typo from a filter."""

import subprocess
import sys
from typing import get_type_hints

import pytest

from trackstar_frames.filter_types import OrderFilters, Status, Type
from trackstar_frames.filters import FIELDS
from trackstar_frames.schema import LIFECYCLE


def test_they_are_those_of_the_grammar():
    spellings = {
        f"{name}__{operator.replace('-', '_')}"
        for name, field in FIELDS.items()
        for operator in field.operators
    }
    plain = {name for name, field in FIELDS.items() if field.plain}
    assert set(get_type_hints(OrderFilters)) == spellings | plain
    assert Status.__args__ == LIFECYCLE
    assert Type.__args__ == FIELDS["type"].allowed


CODE = """
import pandas as pd
import trackstar_frames as tf
{call}
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Have mypy read a call, and give what it says."""
    folder = tmp_path_factory.mktemp("typed")

    def run(call):
        (folder / "call.py").write_text(CODE.format(call=call))
        command = [sys.executable, "-m", "mypy", "--strict", "call.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        return done.stdout

    return run


GOOD = [
    'tf.fetch_orders_df(status__in=["open", "packed"], created_date__gte=pd.Timestamp(0))',
    'tf.fetch_orders(ids=["a", "b"], page_size=10).orders',
    'tf.export_orders("root", order_number__eq_insensitive="A1", connections={"a": "A_TOKEN"})',
    'tf.sync_orders("root", type="d2c", overlap="2h")',
    'names = ["open"]\ntf.fetch_orders_df(status=names)',
]
BAD = [
    ('tf.fetch_orders_df(staus="open")', 'Unexpected keyword argument "staus"'),
    ('tf.fetch_orders_df(status="opne")', "incompatible type"),
    ("tf.fetch_orders_df(created_date__gte=3)", "incompatible type"),
    ('tf.fetch_orders_df(status__gt="open")', "Unexpected keyword argument"),
    ("tf.fetch_orders_df(limit=1.5)", "incompatible type"),
]


@pytest.mark.slow
def test_a_type_checker_takes_good_calls_and_flags_bad_ones(check):
    assert "Success" in check("\n".join(GOOD))
    message = check("\n".join(call for call, _ in BAD)).splitlines()
    for number, (_, words) in enumerate(BAD, 4):
        assert any(line.startswith(f"call.py:{number}:") and words in line for line in message)
