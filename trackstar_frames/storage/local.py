"""Snapshots on a file system: folders that appear whole or not at all.

A folder is written under a hidden name beside its target, and put in place by a rename. Its
writer holds a lock beside it while it lives; the folder of a writer that was killed is removed
by the next one.

Some disks (FAT, FUSE mounts such as Colab's, NFS without its lock service) have no modes, no locks,
or cannot flush folders. Writing works there too. Without locks, a dead writer cannot be
distinguished from a live one, so its folder stays until somebody removes it by hand.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from trackstar_frames.errors import SnapshotError
from trackstar_frames.settings import local_folder

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["commit", "copy", "delete", "exists", "filesystem", "is_folder", "list_folder"]
__all__ += ["locate", "lock", "make_folder", "open_file", "partial_folder", "read"]
__all__ += ["rename_files", "replace", "scratch_folder", "size", "write"]

#: Errors of a disk that does not support an operation; not those of a full or broken disk.
_UNSUPPORTED = {
    *(errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK),
    *(errno.EINVAL, errno.ENOTTY, errno.EPERM),
}
_UNSUPPORTED_BY_FOLDERS = _UNSUPPORTED | {errno.EACCES, errno.EBADF, errno.EISDIR}

#: Errors of a disk that cannot remove a file before it is closed, or where somebody else removes
#: the same file.
_IN_USE = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ETXTBSY}

#: Seconds to wait for a lock; others hold one for as long as a rename takes.
_LOCK_TIMEOUT = 600

_HIDDEN = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{32}\.(?P<kind>partial|earlier)(?P<lock>\.lock)?")


def locate(path: str | os.PathLike[str], name: str = "root") -> Path:
    """Check and make absolute the path of a folder, which need not exist; `name` is for errors."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{path!r} is not the path of a folder; pass a string or a Path")
    folder = local_folder(path, name)
    try:
        paths = (folder, *folder.parents)
        existing = next((each for each in paths if each.exists() or each.is_symlink()), None)
        is_file = existing is not None and not existing.is_dir()  # a whole drive may be missing
        is_broken = existing is not None and not existing.exists()
    except (OSError, ValueError) as error:
        raise SnapshotError(f"cannot look for {folder}: {type(error).__name__}: {error}") from error
    if is_file:
        raise SnapshotError(
            f"cannot write under {name}={str(folder)!r}, or read from it: {existing} is a "
            f"{'link that leads nowhere' if is_broken else 'file'}"
        )
    return folder


def exists(path: Path) -> bool:
    """Return whether there is anything at a path."""
    return path.exists()


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path."""
    return path.is_dir()


def list_folder(folder: Path) -> list[Path]:
    """List the paths in a folder, sorted; none if there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def size(path: Path) -> int:
    """Return the length of a file in bytes."""
    return path.stat().st_size


def read(path: Path) -> bytes:
    """Read a whole file."""
    return path.read_bytes()


def open_file(path: Path) -> pa.NativeFile:
    """Open a file to read parts of it."""
    return pa.OSFile(str(path))


def filesystem(path: Path) -> FileSystem:  # noqa: ARG001  (another storage has one for each root)
    """Return what `pyarrow.dataset` reads the files below a path with."""
    from pyarrow.fs import LocalFileSystem  # noqa: PLC0415  (slow, and only few calls read so)

    return LocalFileSystem()


def write(path: Path, body: bytes | pa.Buffer) -> None:
    """Create a file that only its owner may read, and flush it to the disk."""
    with _create(path) as file:
        file.write(body)
    _flush(path)


def copy(source: Path, target: Path) -> None:
    """Give a file a second name, by a hard link if the disk has them, else by a copy."""
    try:
        os.link(source, target)
    except (OSError, NotImplementedError):  # another disk, or one without hard links
        with source.open("rb") as original, _create(target) as duplicate:
            shutil.copyfileobj(original, duplicate)
        _flush(target)


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may read, unless it exists."""
    folder.mkdir(mode=0o700, exist_ok=True)


def rename_files(folder: Path, names: Mapping[str, str]) -> None:
    """Rename these files of a folder, and delete its hidden ones that are left."""
    for old, new in names.items():
        (folder / old).rename(folder / new)
    for left in folder.glob(".*"):
        left.unlink()
    _flush(folder)


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Remove what dead writers left; yield a private folder, which is deleted if it is unused."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    folder = _hidden_name(target, "partial")
    with _hold_lock(folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def scratch_folder(target: Path) -> AbstractContextManager[Path]:
    """Yield a private folder on a local disk: here beside the target, which has room for orders."""
    return partial_folder(target)


def lock(target: Path) -> AbstractContextManager[bool]:
    """Lock a path against other writers, which wait; hold the lock for a short time."""
    return _hold_lock(target.with_name(f".{target.name}"))


def commit(folder: Path, targets: Iterable[Path]) -> Path:
    """Rename a finished folder to the first of these paths that is free, and return that."""
    _flush(folder)
    for target in targets:
        if not target.exists():
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                _flush(target.parent)
                return target
    raise FileExistsError(f"there is something else at {target}")


def replace(folder: Path, target: Path) -> None:
    """Rename a finished folder to `target`, in place of an earlier one; `target` must be locked."""
    if not target.exists():
        commit(folder, [target])
        return
    _flush(folder)
    with _hold_lock(earlier := _hidden_name(target, "earlier")):
        target.rename(earlier)
        try:
            folder.rename(target)
        except OSError:
            earlier.rename(target)
            raise
        _flush(target.parent)
        shutil.rmtree(earlier, ignore_errors=True)


def delete(target: Path) -> None:
    """Delete a folder, so that nobody ever finds a part of it in its place."""
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link")
    with _hold_lock(folder := _hidden_name(target, "partial")):
        try:
            target.rename(folder)
        except FileNotFoundError:
            if target.parent.is_dir():
                return  # another process has just deleted it
            raise
        _flush(target.parent)
        shutil.rmtree(folder, ignore_errors=True)  # goes on after an error
        if folder.exists():
            try:
                shutil.rmtree(folder)
            except OSError as error:
                # Some disks (NFS, Windows) keep a file that a reader has open; the next sweep
                # removes it. Whatever else stays is an error: orders hold names and addresses.
                if error.errno not in _IN_USE and os.name != "nt":
                    raise


def _sweep(parent: Path) -> None:
    """Remove the hidden folders of dead writers, and undo replacements that they did not finish."""
    for name in {each.name.removesuffix(".lock") for each in parent.iterdir()}:
        if match := _HIDDEN.fullmatch(name):
            # A folder of another user, or one that another process is removing, is skipped.
            target = parent / match["target"]
            with suppress(OSError), _hold_lock(parent / name, timeout=0) as is_dead:
                if is_dead:
                    with lock(target):
                        if match["kind"] == "earlier" and not target.exists():
                            (parent / name).rename(target)  # it died between the two renames
                        else:
                            shutil.rmtree(parent / name, ignore_errors=True)


def _hidden_name(target: Path, kind: str) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex}.{kind}"


def _create(path: Path) -> IO[bytes]:
    """Open a new file that only its owner may read, where the disk has owners."""
    # Created with this mode, as some disks refuse to change a mode.
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _flush(path: Path) -> None:
    """Flush a file or a folder to the disk, if the disk can; Windows cannot flush folders."""
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
        if error.errno not in (_UNSUPPORTED_BY_FOLDERS if is_folder else _UNSUPPORTED):
            raise


@contextmanager
def _hold_lock(folder: Path, timeout: float | None = None) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with its process; yield False if there are no locks."""
    import filelock  # noqa: PLC0415  (it imports asyncio, and only writers need it)

    timeout = _LOCK_TIMEOUT if timeout is None else timeout
    # On a disk without locks, a mere file as a lock would outlive its holder: it is to be an error.
    # Older versions make none, but let others open the lock.
    known = inspect.signature(filelock.BaseFileLock.__init__).parameters
    options: dict[str, Any] = (
        {"fallback_to_soft": False} if "fallback_to_soft" in known else {"mode": 0o600}
    )
    with suppress(OSError):  # FileLock would change its mode afterwards, if at all
        _create(Path(f"{folder}.lock")).close()
    file_lock = filelock.FileLock(f"{folder}.lock", timeout=timeout, **options)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock)
        except (OSError, NotImplementedError) as error:  # a timeout is an OSError too
            if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
                raise
        try:
            yield file_lock.is_locked
        finally:
            # While it is held: whoever waits for it would lock a file that is no longer there.
            with suppress(OSError):
                Path(file_lock.lock_file).unlink()
