"""The bar of a fetch, drawn in a real terminal and in a real notebook."""

import errno
import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from itertools import pairwise

import nbclient
import nbformat
import pytest

from trackstar_frames.progress import Progress

BEGIN = """
from trackstar_frames.progress import Progress
with Progress(shown=True) as progress:
"""


class Terminal:
    """A program of a few lines in a terminal of its own."""

    def __init__(self, body, columns=80, **environment):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=slave,
            env=os.environ | {"PYTHON_COLORS": "0"} | environment,
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.process:
            self.process.kill()
        if self.master is not None:
            os.close(self.master)

    @property
    def frames(self):
        """What was drawn, frame by frame; what the last carries on with is cut off."""
        return [frame.partition("\n")[0].rstrip() for frame in self.screen.split("\r")[1:]]

    @property
    def screen(self):
        return self.text.replace("\r\n", "\n")

    def read_until(self, holds):
        while not holds(self.frames):
            assert self._read(), self.text
        return self

    def go_on(self):
        """Let the program go on from where it reads a line, and read it to its end."""
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        while self._read():
            pass
        return self.process.wait()

    def hang_up(self):
        os.close(self.master)
        self.master = None

    def _read(self):
        try:
            part = os.read(self.master, 65536).decode()
        except OSError:  # nobody writes any more
            part = ""
        self.text += part
        return part


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}])
def test_in_a_terminal_a_bar_is_drawn(environment):
    body = f"{BEGIN}    progress.sent(3); progress.add(1000); progress.add(234); input()"
    with Terminal(body, **environment) as terminal:
        terminal.read_until(lambda frames: any("2 pages" in frame for frame in frames))
        assert terminal.go_on() == 0
    assert "fetching: 1,234 orders" in terminal.frames[-1]
    assert terminal.frames[-1].endswith("] 2 pages")
    assert terminal.screen.count("\n") == 1
    assert terminal.screen.endswith("\n")


def test_a_wait_is_shown_and_vanishes_though_nothing_else_happens():
    body = f"{BEGIN}    progress.waiting('rate limit', 0.5); input()"
    with Terminal(body) as terminal:
        terminal.read_until(lambda frames: any("rate limit: 0." in frame for frame in frames))
        terminal.read_until(lambda frames: frames[-1].endswith("] 0 pages"))
        assert terminal.go_on() == 0


def test_the_clock_of_a_bar_continues_while_all_wait():
    body = f"{BEGIN}    progress.waiting('server asked to wait', 1000); input()"
    with Terminal(body) as terminal:
        terminal.read_until(lambda frames: any("[00:01, 0/s]" in frame for frame in frames))
        assert terminal.go_on() == 0
    assert "wait" not in terminal.frames[-1]
    assert all(one != other for one, other in pairwise(terminal.frames))


def test_an_error_leaves_the_bar_above_its_traceback():
    body = f"{BEGIN}    progress.add(350); progress.waiting('rate limit', 50); int('x')"
    with Terminal(body) as terminal:
        assert terminal.go_on() == 1
    lines = terminal.screen.rpartition("\r")[2].splitlines()
    assert re.fullmatch(r"fetching: 350 orders \[00:0\d, [\d,]+/s\] 1 page *", lines[0])
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1].startswith("ValueError")


@pytest.mark.parametrize(("columns", "widest"), [(80, 79), (44, 43), (0, 79)])
def test_no_frame_is_wider_than_the_terminal(columns, widest):
    body = f"""{BEGIN}
    progress.sent(10); progress.add(1_234_567)
    progress.waiting("server asked to wait, for a reason of many words " * 3, 100); input()"""
    with Terminal(body, columns) as terminal:
        terminal.read_until(lambda frames: any("1,234,567" in frame for frame in frames))
        assert terminal.go_on() == 0
    drawn = [len(line) for frame in terminal.screen.split("\r") for line in frame.split("\n")]
    assert max(drawn) <= widest
    assert "1,234,567 orders" in terminal.frames[-1]


def test_calls_do_not_draw():
    body = f"""{BEGIN}
    for _ in range(20_000):
        progress.sent(1); progress.add(1); progress.waiting("rate limit", 0.01)"""
    with Terminal(body) as terminal:
        assert terminal.go_on() == 0
    assert "20,000 orders" in terminal.frames[-1]
    assert len(terminal.frames) < 1000


def test_a_terminal_that_is_gone_does_not_end_a_fetch():
    body = f"""{BEGIN}
    input()
    progress.add(1)
print("whole")"""
    with Terminal(body) as terminal:
        terminal.read_until(len)
        terminal.hang_up()
        assert terminal.process.communicate(b"\n")[0] == b"whole\n"
        assert terminal.process.returncode == 0


class FullTerminal(io.StringIO):
    full = False

    def isatty(self):
        return True

    def write(self, text):
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "it takes no more")
        return super().write(text)


def test_a_terminal_that_takes_no_more_does_not_end_a_fetch(monkeypatch):
    terminal = FullTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(shown=True) as progress:
        terminal.full = True
        progress.add(1)
        (painter,) = (each for each in threading.enumerate() if each.name == "progress")
        painter.join()
        progress.add(1)
    assert terminal.getvalue().startswith("\rfetching: 0 orders")


NOTEBOOK = """
import sys, types
class ZMQInteractiveShell: pass
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = ZMQInteractiveShell
sys.modules["ipykernel.zmqshell"] = sys.modules["ipywidgets"] = None
"""


#: The shells of Colab and of others inherit from Jupyter's, and have names of their own.
HEIR = f"""{NOTEBOOK}
class Shell(ZMQInteractiveShell): pass
sys.modules["IPython"].get_ipython = Shell
"""


@pytest.mark.parametrize("shell", [NOTEBOOK, HEIR], ids=["Jupyter", "Colab"])
def test_without_widgets_a_notebook_shows_text_and_no_warning(shell):
    code = f"{shell}{BEGIN}    progress.add(350)"
    run = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "fetching: 350 orders [00:0" in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.filterwarnings("default")  # the kernel's own affairs
def test_a_notebook_shows_a_widget():
    code = """
from trackstar_frames.progress import Progress
with Progress() as progress:
    progress.add(350)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    (shown,) = notebook.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in shown.data
    (widgets,) = notebook.metadata.widgets.values()
    states = [each["state"] for each in widgets["state"].values()]
    assert any(re.search(r"350\sorders", str(state.get("value"))) for state in states)
    assert any(state.get("value") == state.get("max", 0) for state in states)
    assert any(state.get("width") == "20px" for state in states)


@pytest.mark.parametrize("stderr", ["None", "open(sys.executable)"])
def test_a_fetch_continues_without_a_stderr(stderr):
    code = f"import sys; sys.stderr = {stderr}; sys.stderr and sys.stderr.close()\n" + BEGIN
    code += "    progress.add(1)\nprint(progress.requests)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")
