"""The storage of snapshots, as a few functions.

All other modules access what is stored under a root by these functions only:

================================  ==============================================================
`locate`                          Check a root or path as a user writes it, and make it absolute.
`exists`, `is_folder`             Return whether there is anything, or a folder, at a path.
`list_folder`                     List the paths in a folder.
`size`, `read`, `open_file`       Read a file: its length, its bytes, or a part of it.
`filesystem`                      Return what `pyarrow.dataset` reads files with.
`write`, `copy`                   Create a file; it is on the disk when the call returns.
`make_folder`, `rename_files`     Create a folder; give its files their final names.
`partial_folder`                  Yield a private folder to write a target's files in.
`scratch_folder`                  Yield a private local folder for files that are not stored.
`commit`, `replace`               Put a finished folder in its place, whole or not at all.
`lock`                            Lock a path: one writer at a time, of all processes.
`delete`                          Delete a folder, so that nobody ever finds a part of it.
================================  ==============================================================

A path is a `pathlib.Path`. That of another storage is an `os.PathLike` with ``/``, `name`, `stem`,
`suffix`, `parent`, equality and order, which can be pickled. Its `str()` is its URL: `filesystem`
opens it (in a `PyFileSystem`, one of fsspec does; Arrow's own S3 takes no URL), and `locate` takes
both again. A path to lock, or to have a scratch folder for, need not exist; the scratch folder
itself is a `pathlib.Path`. `locate` raises TypeError, SettingsError or SnapshotError; all others
raise OSError if the disk refuses, a file to read is missing, or one to create exists, and callers
make a SnapshotError of it. A lock ends with its process; it yields False where the disk has no
locks, and writers then rely on unique names alone.

There is one storage, `local`. Another one takes a module beside it with the same functions, and
this module to choose between the two: by the URL in `locate`, else by the type of the path.
"""

from trackstar_frames.storage.local import *  # noqa: F403  (all verbs, and nothing else)
