"""The command line, ``trackstar-frames``.

Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted, 141 output pipe closed. Errors and
warnings are one line each. Credentials come from the environment only; as options, they would stay
in the shell's history.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import trackstar_frames as tf
from trackstar_frames.cli.commands import (
    ClosedPipeError,
    OutputError,
    check_output,
    one_line_warnings,
    print_error,
)
from trackstar_frames.cli.parser import parse_args

# 128 plus the number of SIGINT or SIGPIPE, as shells report a program that these have ended.
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
        args = parse_args(argv)
        with one_line_warnings():
            args.run(args)
    except ClosedPipeError:
        return _CLOSED_PIPE
    except (tf.FilterError, tf.SettingsError, tf.CredentialsError) as error:
        return print_error(error, 2)
    except (tf.TrackstarError, OutputError, OSError, ImportError, sqlite3.Error) as error:
        return print_error(error, 1)
    except Warning as warning:  # with PYTHONWARNINGS=error
        return print_error(warning, 1)
    except KeyboardInterrupt:
        return print_error("interrupted", _INTERRUPTED)
    return 0
