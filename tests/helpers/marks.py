"""Which cases of a test run every day, and which with `pytest -m slow` only."""

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
