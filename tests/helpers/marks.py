"""Which cases of a test run every day, and which with `pytest -m slow` only.

Two marks choose among all cases of a test, those of parametrised fixtures included:

* `@pytest.mark.each_value`: every day, as few cases as have each value of each parameter once;
* `@pytest.mark.one_of(n)`: every day, the first of every n cases.
"""

from collections import defaultdict

import pytest


def slow(*values):
    """Return a case that only the slow run tries."""
    return pytest.param(*values, marks=pytest.mark.slow)


def sample(cases, step):
    """Return all cases, of which every so many-th runs every day and the others are slow."""
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*case) if number % step == 0 else slow(*case)
        for number, case in enumerate(cases)
    ]


def mark_slow(items):
    """Mark the cases as slow that `each_value` and `one_of` leave out of the everyday run."""
    tests = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("slow"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for cases in tests.values():
        if (mark := cases[0].get_closest_marker("one_of")) is not None:
            daily = cases[:: mark.args[0]]
        elif cases[0].get_closest_marker("each_value"):
            daily = _with_each_value(cases)
        else:
            continue
        for case in cases:
            if case not in daily:
                case.add_marker("slow")


def _with_each_value(cases):
    values = {case: _values(case) for case in cases}
    missing, daily = set().union(*values.values()), []
    while missing:
        best = max(cases, key=lambda case: len(values[case] & missing))
        daily.append(best)
        missing -= values[best]
    return daily


def _values(case):
    """Return the parameters with their values; those that are no plain ones, by their identity."""
    return {
        (name, repr(value) if isinstance(value, str | int | float | None) else id(value))
        for name, value in case.callspec.params.items()
    }
