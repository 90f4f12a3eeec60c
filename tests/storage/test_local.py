"""Folders put in place by a rename, and what writers that died have left beside them."""

import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, storage
from trackstar_frames.storage import local
from trackstar_frames.storage.local import _sweep, commit, delete, replace

WRITER = """
import sys, time
from pathlib import Path
from trackstar_frames.storage.local import partial_folder

with partial_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    sys.stdin.readline()
"""

DIES_BETWEEN_THE_RENAMES = """
import os, signal, sys
from pathlib import Path
import trackstar_frames as tf

rename = Path.rename
def dies(self, target):
    if self.suffix == ".partial":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = dies
tf.OrderFrames.from_json({"id": "new"}).to_parquet(sys.argv[1])
"""

MANY = """
import sys
import trackstar_frames as tf

frames = tf.OrderFrames.from_json({"id": sys.argv[2]})
print("ready", flush=True)
sys.stdin.readline()
for _ in range(6):
    tf.write_snapshot(frames, sys.argv[1])
    frames.to_parquet(sys.argv[1] + "/same")
"""


def start(code, *given):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def writer(target):
    """Start a process that writes beside a target until it is killed; give its folder's name."""
    process = start(WRITER, target)
    try:
        yield process, Path(process.stdout.readline().strip()).name
    finally:
        process.kill()
        process.communicate()


def hidden(root):
    return sorted(each.name for each in root.iterdir() if each.name.startswith("."))


def some(key="a"):
    return OrderFrames.from_json({"id": key})


def test_a_live_writers_folder_stays_and_a_dead_ones_goes(tmp_path):
    with writer(tmp_path / "out") as (process, name):
        assert hidden(tmp_path) == [name, f"{name}.lock"]
        some().to_parquet(tmp_path / "other")
        tf.write_snapshot(some(), tmp_path)
        assert hidden(tmp_path) == [name, f"{name}.lock"]
        assert (tmp_path / name / "half").read_text() == "written"
        process.kill()
        process.wait()
        assert hidden(tmp_path) == [name, f"{name}.lock"]
        tf.write_snapshot(some(), tmp_path)
    assert hidden(tmp_path) == []


def test_a_writer_in_this_process_is_alive_too(tmp_path):
    with local.partial_folder(tmp_path / "out") as folder:
        _sweep(tmp_path)
        assert folder.is_dir()
        with local.partial_folder(tmp_path / "out") as other:
            assert other != folder
        assert folder.is_dir()
    assert hidden(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_hidden_folders_are_readable_by_their_owner_only(tmp_path):
    with local.partial_folder(tmp_path / "out") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        lock = folder.with_name(f"{folder.name}.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_folders_of_other_programs_are_not_touched(tmp_path):
    names = [".git", ".out.partial", "out.0123456789abcdef0123456789abcdef.partial", ".lock"]
    for name in names:
        (tmp_path / name).mkdir()
    _sweep(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names)


def test_an_unused_lock_file_is_removed(tmp_path):
    (tmp_path / f".out.{'0' * 32}.partial.lock").touch()
    (tmp_path / f".out.{'1' * 32}.earlier.lock").touch()
    _sweep(tmp_path)
    assert hidden(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_folder_whose_replacement_died_comes_back(tmp_path):
    target = tmp_path / "out"
    some("old").to_parquet(target)
    process = start(DIES_BETWEEN_THE_RENAMES, target)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    some().to_parquet(tmp_path / "other")
    assert OrderFrames.from_parquet(target).orders["id"].tolist() == ["old"]
    assert hidden(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_next_replacement_of_it_goes_through(tmp_path):
    target = tmp_path / "out"
    some("old").to_parquet(target)
    start(DIES_BETWEEN_THE_RENAMES, target).communicate()
    some("newer").to_parquet(target)
    assert OrderFrames.from_parquet(target).orders["id"].tolist() == ["newer"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_an_earlier_folder_goes_if_its_replacement_is_there(tmp_path):
    some("new").to_parquet(tmp_path / "out")
    some("old").to_parquet(tmp_path / f".out.{'0' * 32}.earlier")
    _sweep(tmp_path)
    assert OrderFrames.from_parquet(tmp_path / "out").orders["id"].tolist() == ["new"]
    assert hidden(tmp_path) == []


def test_a_replacement_that_fails_leaves_the_earlier_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(OSError, match="nowhere"):
        replace(tmp_path / "nowhere", tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["old"]
    assert hidden(tmp_path) == []


def test_the_first_name_that_is_free_is_taken(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "theirs").touch()
    (tmp_path / "mine").mkdir()
    names = [tmp_path / name for name in "abc"]
    assert commit(tmp_path / "mine", names) == tmp_path / "c"
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="something else at"):
        commit(tmp_path / "mine", names)
    assert (tmp_path / "mine").is_dir()
    assert (tmp_path / "a" / "theirs").exists()


def test_a_name_that_a_file_has_is_taken_too(tmp_path):
    (tmp_path / "a").write_text("theirs")
    (tmp_path / "mine").mkdir()
    assert commit(tmp_path / "mine", [tmp_path / "a", tmp_path / "b"]) == tmp_path / "b"
    assert (tmp_path / "a").read_text() == "theirs"


def test_a_rename_that_the_disk_refuses_is_no_name_that_is_taken(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(OSError, match="nowhere"):
        commit(tmp_path / "mine", [tmp_path / "nowhere" / "a", tmp_path / "b"])


def test_what_is_removed_is_gone_whole(tmp_path):
    some().to_parquet(tmp_path / "out")
    delete(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_write_under_one_root_at_once(tmp_path):
    processes = [start(MANY, tmp_path, key) for key in "xy"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    names = tf.list_snapshots(tmp_path)["name"].tolist()
    found = [tf.read_snapshot(tmp_path, name).orders["id"][0] for name in names if name != "same"]
    assert sorted(found) == ["x"] * 6 + ["y"] * 6
    assert OrderFrames.from_parquet(tmp_path / "same").orders["id"][0] in "xy"
    assert hidden(tmp_path) == []


def test_the_verbs_of_a_storage_are_those_that_are_listed():
    _, table, _ = re.split(r"^=+  =+$", storage.__doc__, maxsplit=2, flags=re.MULTILINE)
    verbs = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line[:32])]
    assert sorted(verbs) == sorted(local.__all__)
    assert all(callable(getattr(storage, verb)) for verb in verbs)


def test_a_list_of_a_folder_is_sorted_and_of_none_is_empty(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).touch()
    assert storage.list_folder(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert storage.list_folder(tmp_path / "nowhere") == []


def test_files_get_their_final_names_and_hidden_ones_that_are_left_go(tmp_path):
    for name in (".x-0", ".x-1", ".of-a-dead-worker", "kept"):
        storage.write(tmp_path / name, name.encode())
    storage.rename_files(tmp_path, {".x-1": "part-0", ".x-0": "part-1"})
    assert [each.name for each in storage.list_folder(tmp_path)] == ["kept", "part-0", "part-1"]
    assert storage.read(tmp_path / "part-0") == b".x-1"


def test_a_copy_stays_when_its_source_is_deleted(tmp_path):
    storage.write(tmp_path / "a", b"body")
    storage.copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert storage.read(tmp_path / "b") == b"body"
    with pytest.raises(FileExistsError):
        storage.write(tmp_path / "b", b"other")
