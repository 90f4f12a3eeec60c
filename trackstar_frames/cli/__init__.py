"""The command line, ``trackstar-frames``.

Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted, 141 output pipe closed. Errors and
warnings are one line each. Credentials come from the environment only; as options, they would stay
in the shell's history.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import trackstar_frames as tf
from trackstar_frames.cli import commands
from trackstar_frames.cli.parser import parse_args

# 128 plus the number of SIGINT or SIGPIPE, as shells report a program that these have ended.
_INTERRUPTED = 130
_CLOSED_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of these arguments, by default the process's; return its exit code."""
    try:
        commands.check_output()
        args = parse_args(argv)
        with commands.one_line_warnings():
            args.run(args)
    except commands.ClosedPipeError:
        return _CLOSED_PIPE
    except (tf.FilterError, tf.SettingsError, tf.CredentialsError) as error:
        return commands.print_error(error, 2)
    except (tf.TrackstarError, commands.OutputError, OSError, ImportError, sqlite3.Error) as error:
        return commands.print_error(error, 1)
    except Warning as warning:  # with PYTHONWARNINGS=error
        return commands.print_error(warning, 1)
    except KeyboardInterrupt:
        return commands.print_error("interrupted", _INTERRUPTED)
    return 0
