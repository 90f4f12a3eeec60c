"""`FetchInfo`: a read-only mapping with attributes, and metadata that earlier versions wrote."""

import copy
import json
import pickle
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames.info import of_connection

DATA = Path(__file__).parent / "data" / "former"


def test_keys_are_attributes_too():
    info = tf.FetchInfo(limit=20, filters={"status": "open"}, connection="acme")
    assert all(getattr(info, name) == value for name, value in info.items())
    assert (info["complete"], info.complete, info.limit) == (True, True, 20)
    with pytest.raises(AttributeError, match="no 'limits'; it has filters, "):
        _ = info.limits
    with pytest.raises(KeyError):
        info["limits"]


def test_what_only_some_have_is_empty_in_the_others():
    info = tf.FetchInfo()
    assert (info.connections, info.failed, info.sync) == ({}, {}, None)
    assert (info["connections"], info["failed"], info["sync"]) == ({}, {}, None)
    assert not {"connections", "failed", "sync"} & info.keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info.update(limit=1),
        lambda info: info.pop("limit"),
        lambda info: info.__setitem__("limit", 1),
        lambda info: info.__delitem__("limit"),
        lambda info: info.__ior__({"limit": 1}),
        lambda info: setattr(info, "limit", 1),
        lambda info: info.clear(),
        lambda info: info.setdefault("new", 1),
    ],
)
def test_it_is_read_only(change):
    info = tf.FetchInfo(limit=20)
    with pytest.raises(TypeError, match="read-only"):
        change(info)
    assert (info.limit, info | {"limit": 1}) == (20, {**info, "limit": 1})


def test_it_is_plain_json_and_can_be_copied():
    info = tf.FetchInfo(filters={"ids": ["a"]}, connections={"acme": {"pages": 2}})
    for same in (copy.copy(info), copy.deepcopy(info), pickle.loads(pickle.dumps(info))):
        assert type(same) is tf.FetchInfo
        assert same == info == dict(info) == json.loads(json.dumps(info))
    assert copy.deepcopy(info).filters is not info.filters
    assert repr(info) == "FetchInfo(fetched_at=None; 1 connection; complete=True)"


def test_metadata_of_the_former_version_gets_the_names_of_today():
    (path,) = (DATA / "two").iterdir()
    before = json.loads((path / "_trackstar_frames.json").read_bytes())["info"]
    for info in (tf.read_snapshot(DATA / "two").info, tf.FetchInfo(before)):
        assert info.started_at == before["began"]
        assert not {"began", "question"} & info.keys()
        for label, each in before["connections"].items():
            assert info.connections[label]["request_hash"] == each["question"]
            assert of_connection(info, label).started_at == each["began"]
