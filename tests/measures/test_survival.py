"""The product-limit estimator: against statsmodels, a case by hand, and its laws."""

import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from trackstar_frames.measures.cycle_time import (
    curve_percentile,
    log_log_interval,
    nearest_rank,
    product_limit,
)

Z = 1.959963984540054


def curve_of(times, ended, groups=None):
    groups = np.zeros(len(times), dtype=np.int64) if groups is None else np.asarray(groups)
    lengths = np.asarray(times, dtype=np.int64).astype("m8[us]")
    return product_limit(groups, lengths, np.asarray(ended, dtype=bool))


def whole(lengths):
    return [None if np.isnat(each) else int(each.astype(np.int64)) for each in lengths]


def test_a_case_by_hand():
    # Lasting 1, 2, 2+, 3, 5, 5, 7+, 8 (+ goes on): at risk 8, 7, 5, 4, 1.
    times, ended = [5, 2, 1, 7, 2, 8, 3, 5], [1, 1, 1, 0, 0, 1, 1, 1]
    curve = curve_of(times, ended)
    assert whole(curve.time) == [1, 2, 3, 5, 8]
    assert curve.at_risk.tolist() == [8, 7, 5, 4, 1]
    assert curve.ended.tolist() == [1, 1, 1, 2, 1]
    shares = [7 / 8, 6 / 8, 6 / 8 * 4 / 5, 6 / 8 * 4 / 5 * 2 / 4, 0]
    assert curve.share == pytest.approx(shares, abs=1e-12)
    assert whole(curve_percentile(curve, 50, 1)) == [5]
    assert whole(curve_percentile(curve, 90, 1)) == [8]
    low, high = log_log_interval(curve)
    spread = np.sqrt(1 / (8 * 7) + 1 / (7 * 6))
    power = np.exp(Z * spread / -np.log(6 / 8))
    assert (low[1], high[1]) == pytest.approx((0.75**power, 0.75 ** (1 / power)))
    assert np.isnan([low[-1], high[-1]]).all()


def test_the_remission_times_of_freireich():
    # 6-MP against leukaemia (1963), as in every textbook: the median is 23 weeks.
    ends = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    goes_on = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curve = curve_of([*ends, *goes_on], [1] * len(ends) + [0] * len(goes_on))
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve.share.round(3).tolist() == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert whole(curve_percentile(curve, 50, 1)) == [23]
    assert whole(curve_percentile(curve, 90, 1)) == [None]
    low, high = log_log_interval(curve)
    # As R prints for survfit(..., conf.type = "log-log").
    assert low.round(3).tolist() == [0.620, 0.563, 0.503, 0.432, 0.368, 0.268, 0.188]
    assert high.round(3).tolist() == [0.952, 0.923, 0.889, 0.849, 0.805, 0.747, 0.680]


@pytest.mark.parametrize("seed", range(60))
def test_it_is_that_of_statsmodels_in_every_group(seed):
    rng = np.random.default_rng(seed)
    size, many = int(rng.integers(1, 400)), int(rng.integers(1, 6))
    times = rng.integers(0, int(rng.choice([3, 30, 10**12])), size)  # many ties, some, none
    ended = rng.random(size) < rng.choice([0.02, 0.3, 0.9, 1])
    groups = rng.integers(0, many, size)
    curve = curve_of(times, ended, groups)
    low, high = log_log_interval(curve)
    found = {percent: whole(curve_percentile(curve, percent, many)) for percent in (50, 90)}
    for group in range(many):
        mine, of_group = curve.group == group, groups == group
        if not ended[of_group].any():
            assert not mine.any()
            assert found[50][group] is None
            continue
        other = SurvfuncRight(times[of_group], ended[of_group])
        assert whole(curve.time[mine]) == other.surv_times.tolist()
        assert curve.at_risk[mine].tolist() == other.n_risk.tolist()
        assert curve.ended[mine].tolist() == other.n_events.tolist()
        assert curve.share[mine] == pytest.approx(other.surv_prob, abs=1e-9)
        assert_interval(low[mine], high[mine], other)
        for percent in (50, 90):
            assert found[percent][group] == quantile(other, percent)


def assert_interval(low, high, other):
    inside = other.surv_prob > 0
    share, error = other.surv_prob[inside], other.surv_prob_se[inside]
    spread = Z * error / share / np.log(share)
    assert low[inside] == pytest.approx(share ** np.exp(-spread), abs=1e-9)
    assert high[inside] == pytest.approx(share ** np.exp(spread), abs=1e-9)
    assert np.isnan(low[~inside]).all()
    assert np.isnan(high[~inside]).all()


def quantile(other, percent):
    """Return the quantile at or below; statsmodels' own is below (as in SAS)."""
    down = other.surv_times[other.surv_prob <= 1 - percent / 100 + 1e-9]
    return int(down[0]) if down.size else None


@pytest.mark.parametrize("size", [1, 2, 9, 10, 11, 70, 1000, 99_990])
def test_without_open_orders_it_is_the_ordered_list(size):
    times = np.random.default_rng(size).permutation(size) + 1
    curve, zeros = curve_of(times, [1] * size), np.zeros(size, dtype=np.int64)
    for percent in (50, 90):
        expected = [-(-size * percent // 100)]
        assert whole(curve_percentile(curve, percent, 1)) == expected
        assert whole(nearest_rank(zeros, times.astype("m8[us]"), percent, 1)) == expected


def test_nothing_gives_nothing():
    curve = curve_of([], [])
    assert [len(each) for each in (*curve, *log_log_interval(curve))] == [0] * 7
    assert whole(curve_percentile(curve, 50, 2)) == [None, None]
    assert whole(nearest_rank(curve.group, curve.time, 50, 2)) == [None, None]
