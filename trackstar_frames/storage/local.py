"""Folders that appear whole or not at all: written aside, then put in place by a rename.

What a writer that was killed has left is swept up by the next one. A writer holds a lock
beside its folder while it lives, so that nobody takes it for dead.

Some disks (FAT, FUSE mounts as Colab's, NFS without its lock service) know no modes, no locks,
or no flushing of folders. That does not end a write. Without locks, nobody can tell a dead
writer from a live one, and what is left behind stays until it is removed by hand.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

__all__ = ["commit", "create", "fsync", "locked", "partial_folder", "remove", "replace", "sweep"]


#: What a disk answers that does not know what it is asked for; that it is full or broken is
#: none of these.
_UNKNOWN = {
    *(errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK),
    *(errno.EINVAL, errno.ENOTTY, errno.EPERM),
}
_UNKNOWN_TO_FOLDERS = _UNKNOWN | {errno.EACCES, errno.EBADF, errno.EISDIR}

#: What a disk answers where a file is open that it cannot remove before it is closed, or where
#: somebody else removes the same.
_IN_USE = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ETXTBSY}

#: Seconds to wait for others that hold a lock, each for as long as a rename takes.
_PATIENCE = 600

_PARTIAL = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{32}\.(?P<kind>partial|earlier)(?P<lock>\.lock)?")


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
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


def locked(target: Path) -> AbstractContextManager[bool]:
    """Keep others from replacing a folder meanwhile; shortly, as they wait."""
    return _alive(target.with_name(f".{target.name}"))


def replace(folder: Path, target: Path) -> None:
    """Rename a finished folder into place, over an earlier one; to be done `locked`."""
    if not target.exists():
        commit(folder, [target])
        return
    with _alive(earlier := _hidden(target, "earlier")):
        target.rename(earlier)
        try:
            folder.rename(target)
        except OSError:
            earlier.rename(target)
            raise
        fsync(target.parent)
        shutil.rmtree(earlier, ignore_errors=True)


def commit(folder: Path, targets: Iterable[Path]) -> Path:
    """Rename a finished folder to the first of these names that nobody has, and tell which."""
    for target in targets:
        if not target.exists():
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                fsync(target.parent)
                return target
    raise FileExistsError(f"there is something else at {target}")


def remove(target: Path) -> None:
    """Remove a folder, so that nobody ever finds a part of it in its place.

    One that somebody else has just removed is as good as removed. What a reader still has open
    stays on some disks (NFS, Windows) until it is closed, hidden, and goes with the next sweep.
    Whatever else stays is an error: orders hold names and addresses. A link is none of ours.
    """
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link")
    with _alive(folder := _hidden(target, "partial")):
        try:
            target.rename(folder)
        except FileNotFoundError:
            if target.parent.is_dir():
                return
            raise
        fsync(target.parent)
        shutil.rmtree(folder, ignore_errors=True)  # as much as can be
        if folder.exists():
            try:
                shutil.rmtree(folder)
            except OSError as error:
                if error.errno not in _IN_USE and os.name != "nt":
                    raise


def sweep(parent: Path) -> None:
    """Remove the hidden folders of writers that are dead, and finish what they had begun."""
    for name in {each.name.removesuffix(".lock") for each in parent.iterdir()}:
        if match := _PARTIAL.fullmatch(name):
            # Of another user, or just swept by another process: then it is theirs to remove.
            target = parent / match["target"]
            with suppress(OSError), _alive(parent / name, wait=0) as is_dead:
                if is_dead:
                    with locked(target):
                        _finish(parent / name, target)


def create(path: Path) -> IO[bytes]:
    """Open a new file that only its owner may read, where the disk knows of owners."""
    # Made so, and not changed afterwards: some disks refuse every change of a mode.
    return open(path, "xb", opener=_private)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def fsync(path: Path) -> None:
    """Have the disk hold it before it is named, if it knows how; Windows does not for folders."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    try:
        # Windows flushes only what may be written.
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (_UNKNOWN_TO_FOLDERS if is_folder else _UNKNOWN):
            raise


def _finish(folder: Path, target: Path) -> None:
    if folder.suffix == ".earlier" and not target.exists():
        folder.rename(target)  # its writer died between the two renames
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alive(folder: Path, wait: float | None = None) -> Iterator[bool]:
    """Hold the lock that tells that somebody works on a folder; it goes with its holder.

    Yields
    ------
    bool
        Whether it is held; False on a disk that knows no locks.
    """
    import filelock  # noqa: PLC0415  (it brings asyncio, and only who writes a snapshot needs it)

    patience = _PATIENCE if wait is None else wait
    with suppress(OSError):  # FileLock would change its mode afterwards, if at all
        create(Path(f"{folder}.lock")).close()
    lock = filelock.FileLock(f"{folder}.lock", timeout=patience, **_natively())
    with ExitStack() as held:
        try:
            held.enter_context(lock)
            is_held = True
        except filelock.Timeout:
            raise
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _UNKNOWN:
                raise
            is_held = False
        try:
            yield is_held
        finally:
            # While it is held: who waits for it would hold a file that is no longer there.
            with suppress(OSError):
                Path(lock.lock_file).unlink()


@cache
def _natively() -> dict[str, Any]:
    """Have no lock be made of a mere file where there are none: it outlives its holder.

    Older versions of filelock know no such lock, and open its file to others unless told.
    """
    import filelock  # noqa: PLC0415  (as above)

    known = inspect.signature(filelock.BaseFileLock.__init__).parameters
    return {"fallback_to_soft": False} if "fallback_to_soft" in known else {"mode": 0o600}


def _hidden(target: Path, kind: str) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex}.{kind}"
