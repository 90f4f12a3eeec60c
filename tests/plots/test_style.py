import numpy as np
import pytest
from matplotlib.colors import to_rgb

from trackstar_frames.plots._style import GROUPS, OTHERS, OUTCOMES, status_look

#: How people without one kind of cones see, after Viénot, Brettel and Mollon (1999), in linear RGB.
BLIND = {
    "none": np.eye(3),
    "red": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "green": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    "all": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}


def perceived(colour, kind):
    linear = np.array(to_rgb(colour)) ** 2.2
    return np.clip(BLIND[kind] @ linear, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("looks", [[*GROUPS, OTHERS], list(OUTCOMES.values())])
def test_bars_differ_in_hatch_or_in_colours_that_everybody_sees(kind, looks):
    for index, one in enumerate(looks):
        for other in looks[:index]:
            difference = np.abs(perceived(one.colour, kind) - perceived(other.colour, kind)).max()
            assert one.hatch != other.hatch or difference > 0.15


def test_lines_differ_without_colour():
    assert len({(look.marker, look.stroke) for look in GROUPS}) == len(GROUPS)
    assert len({look.marker for look in GROUPS}) == len(GROUPS)


def test_an_unknown_status_has_a_look():
    assert status_look("zz").hatch
