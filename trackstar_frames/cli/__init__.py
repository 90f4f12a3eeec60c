"""The shell: ``trackstar-frames demo | fetch | export | sync | snapshots | sandbox | cache``.

Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted, 141 if nobody reads the output any
more. An error is one line, and so is a warning. Credentials come from the environment only; they
are never flags, which would stay in the shell's history.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import trackstar_frames as tf
from trackstar_frames.cli.parser import read
from trackstar_frames.cli.printing import (
    ClosedPipeError,
    OutputError,
    check_output,
    complain,
    warning_plainly,
)

__all__ = ["main"]


# As a shell tells of a program that these signals have ended: 128 and SIGINT, SIGPIPE.
_INTERRUPTED = 130
_CLOSED_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    Parameters
    ----------
    argv
        The arguments; by default those of the process.
    """
    try:
        check_output()
        given = read(argv)
        with warning_plainly():
            given.run(given)
    except ClosedPipeError:
        return _CLOSED_PIPE
    except (tf.FilterError, tf.SettingsError, tf.CredentialsError) as error:
        return complain(error, 2)
    except (tf.TrackstarError, OutputError, OSError, ImportError, sqlite3.Error) as error:
        return complain(error, 1)
    except Warning as warning:  # PYTHONWARNINGS=error asks for it
        return complain(warning, 1)
    except KeyboardInterrupt:
        return complain("interrupted", _INTERRUPTED)
    return 0
