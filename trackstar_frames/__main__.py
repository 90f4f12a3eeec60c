"""`python -m trackstar_frames`: the command line, where its script is not on the path."""

from trackstar_frames.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
