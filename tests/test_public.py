"""The public face: its names, and what must be installed for them."""

import importlib
import re
from pathlib import Path

import pytest

import trackstar_frames as tf

ROOT = Path(__file__).parent.parent


def test_names_are_sorted_and_there():
    assert tf.__all__ == sorted(tf.__all__)
    assert set(tf.__all__) <= set(dir(tf))
    assert all(getattr(tf, name) is not None for name in tf.__all__)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="plot_everything"):
        _ = tf.plot_everything


def test_every_error_is_in_the_tree_and_public():
    tree = importlib.import_module("trackstar_frames.errors").__doc__
    errors = {name for name in tf.__all__ if name.endswith("Error")}
    assert set(re.findall(r"\w+Error(?=\s)", tree)) - {"ValueError"} == errors
