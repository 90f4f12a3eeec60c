"""Folders that appear whole or not at all: written aside, then put in place by a rename.

What a writer that was killed has left is swept up by the next one. A writer holds a lock
beside its folder while it lives, so that nobody takes it for dead.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

__all__ = ["alone", "aside", "flush", "put", "put_new", "remove", "sweep"]

_PARTIAL = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{32}\.(?P<kind>partial|earlier)(?P<lock>\.lock)?")


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """Give a private folder beside `target` to write in; it is gone afterwards if unused.

    First, what dead writers have left beside `target` is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    folder = _hidden(target, "partial")
    with _alive(folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def alone(target: Path) -> AbstractContextManager[None]:
    """Keep others from replacing a folder meanwhile; shortly, as they wait."""
    return _alive(target.with_name(f".{target.name}"))


def put(folder: Path, target: Path) -> None:
    """Rename a finished folder into place, over an earlier one; to be done `alone`."""
    if not target.exists():
        put_new(folder, [target])
        return
    with _alive(earlier := _hidden(target, "earlier")):
        target.rename(earlier)
        try:
            folder.rename(target)
        except OSError:
            earlier.rename(target)
            raise
        flush(target.parent)
        shutil.rmtree(earlier, ignore_errors=True)


def put_new(folder: Path, targets: Iterable[Path]) -> Path:
    """Rename a finished folder to the first of these names that nobody has, and tell which."""
    for target in targets:
        if not target.exists():
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                flush(target.parent)
                return target
    raise FileExistsError(f"there is something else at {target}")


def remove(target: Path) -> None:
    """Remove a folder, so that nobody ever finds a part of it in its place."""
    with _alive(folder := _hidden(target, "partial")):
        target.rename(folder)
        flush(target.parent)
        shutil.rmtree(folder)


def sweep(parent: Path) -> None:
    """Remove the hidden folders of writers that are dead, and finish what they had begun."""
    for name in {each.name.removesuffix(".lock") for each in parent.iterdir()}:
        if match := _PARTIAL.fullmatch(name):
            # Of another user, or just swept by another process: then it is theirs to remove.
            target = parent / match["target"]
            with suppress(OSError), _alive(parent / name, wait=0), alone(target):
                _finish(parent / name, target)


def flush(path: Path) -> None:
    """Have the disk hold it before it is named; folders cannot be flushed on Windows."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    # Windows flushes only what may be written.
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finish(folder: Path, target: Path) -> None:
    if folder.suffix == ".earlier" and not target.exists():
        folder.rename(target)  # its writer died between the two renames
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alive(folder: Path, wait: float = -1) -> Iterator[None]:
    """Hold the lock that tells that somebody works on a folder; it goes with its holder."""
    import filelock  # noqa: PLC0415  (it brings asyncio, and only who writes a snapshot needs it)

    lock = filelock.FileLock(f"{folder}.lock", timeout=wait, mode=0o600)
    with lock:
        try:
            yield
        finally:
            # While it is held: who waits for it would hold a file that is no longer there.
            with suppress(OSError):
                Path(lock.lock_file).unlink()


def _hidden(target: Path, kind: str) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex}.{kind}"
