"""Tables in terminals of any width: every cell is printed whole."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from robustssm.commands.table_layout import print_table
from robustssm.evaluations.results.tables import finish
from tests.evaluations.written_runs import share, write_run

WORDS = st.text(st.sampled_from("abc.[]0123456789"), min_size=1, max_size=12)
HEADINGS = st.lists(st.sampled_from(["model", "mean over modes", "95% interval", "n"]), min_size=2)


def printed(headings: list[str], rows: list[list[str]], width: int, upright: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    print_table(console, "title", headings, rows, prose=False, upright=upright)
    return re.sub("\x1b\\[[0-9;]*m", "", file.getvalue())


@given(st.data(), st.integers(20, 120))
def test_no_cell_is_cut(data: st.DataObject, width: int) -> None:
    headings = data.draw(HEADINGS)
    row = st.lists(WORDS, min_size=len(headings), max_size=len(headings))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    text = printed(headings, rows, width)
    assert "…" not in text
    flat = "".join(text.split())
    for cells in rows:
        for cell in cells:
            assert cell in text or "".join(cell.split()) in flat
    for heading in headings[1:]:  # of a block what stands first needs no name
        assert all(word in flat for word in heading.split())
    # A block's line is longer than the terminal only for a name and a cell that are.
    longest = max(map(len, headings)) + max(len(cell) for cells in rows for cell in cells) + 6
    assert all(len(line.rstrip()) <= max(width, longest) for line in text.splitlines())


def test_what_is_the_same_in_all_rows_goes_below() -> None:
    headings = ["model", "seeds", "mean over modes"]
    rows = [["s4d", "3", "0.812345678901"], ["s4ptd", "3", "0.712345678901"]]
    wide, narrow, least = (printed(headings, rows, width) for width in (60, 24, 20))
    assert "seeds" in wide.splitlines()[2] and "All rows" not in wide
    assert "All rows: seeds 3." in narrow and "model" in narrow
    assert [line.split() for line in narrow.splitlines()[-3:-1]] == [
        ["s4d", "0.812345678901"],
        ["s4ptd", "0.712345678901"],
    ]
    assert least.splitlines()[1:3] == ["s4d", "  mean over modes  0.812345678901"]


def in_a_terminal(width: int, *words: str) -> str:
    """What a command prints into a pseudo-terminal so wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {**os.environ, "TERM": "xterm"}
    env.pop("COLUMNS", None)
    code = "from robustssm.cli import main; main()"
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(slave)
        parts = []
        while True:
            try:
                part = os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        assert process.wait() == 0
    os.close(master)
    return re.sub("\x1b\\[[0-9;]*m", "", b"".join(parts).decode().replace("\r\n", "\n"))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_result_in_a_terminal(tmp_path: Path, width: int) -> None:
    names = ("s4ptd-random", "s4d", "a-name-of-my-own")
    rng = np.random.default_rng(0)
    curves = {(name, seed): {(mode, 0.3): share(rng.uniform(0.3, 0.9)) for mode in (1.0, 2.0, 3.0)}
              for name in names for seed in range(3)}  # fmt: skip
    run = write_run(tmp_path / "run", curves)
    row = finish(run).overview.iloc[0]
    text = in_a_terminal(width, "show", str(run.path))
    table = text[text.index("Overview") :]
    assert all(name in table for name in names)
    assert f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]" in table
    assert f"{row['lowest_seed']:.3f}..{row['highest_seed']:.3f}" in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
