"""What tests of pictures have in common: all that they draw can be drawn."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _drawn():
    before = dict(mpl.rcParams)
    yield
    # Whatever a test drew can be drawn: mathematics, layouts and glyphs fail only here.
    for number in plt.get_fignums():
        plt.figure(number).draw_without_rendering()
    plt.close("all")
    assert dict(mpl.rcParams) == before
