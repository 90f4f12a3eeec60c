"""How the benchmarks read their options."""

import argparse


def count(text: str) -> int:
    """Read a whole number from 1."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def share(text: str) -> float:
    """Read a share of something."""
    number = _number(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: above 0, and 1 at most")
    return number


def seconds(text: str) -> float:
    """Read a time to wait."""
    number = _number(text)
    if not 0 <= number <= _MINUTE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {_MINUTE}")
    return number


_MINUTE = 60


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1
