"""Where snapshots are stored, behind a few verbs.

All other modules reach what stands under a root by these functions alone:

================================  ==============================================================
`locate`                          Check a root or path as a user writes it, and make it absolute.
`exists`, `is_folder`             Return whether there is anything, or a folder, at a path.
`list_folder`                     List the paths in a folder.
`size`, `read`, `open_file`       Read a file: its length, its bytes, or a part of it.
`filesystem`                      Return what `pyarrow.dataset` reads files with.
`write`, `copy`                   Create a file; it is on the disk when the call returns.
`make_folder`, `rename_files`     Create a folder; give its files their final names.
`partial_folder`                  Yield a private folder to write in, beside its target.
`commit`, `replace`               Put a finished folder in its place, whole or not at all.
`lock`                            Lock a path against other writers.
`delete`                          Delete a folder, so that nobody ever finds a part of it.
================================  ==============================================================

There is one storage: `local`, a file system. Another one takes three files: a module beside
`local` with the same functions; this one, to choose between the two by the path; and
`settings.local_folder`, which refuses every URL for now.
"""

from trackstar_frames.storage.local import *  # noqa: F403  (all verbs, and nothing else)
