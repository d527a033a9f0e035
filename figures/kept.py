"""Figures of a run that are drawn again only where its summary changed."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.files import write_atomically

# What the figures in a folder were drawn from, and their names.
_MARK = ".drawn"


def keep_drawn(summary: pd.DataFrame, folder: Path, **facts: Any) -> None:
    """Draw the robustness figures of a summary, unless they are there as of this very summary.

    Figures of noises that the run has no more are removed. facts: as of `robustness.draw_all`.
    """
    mark = folder / _MARK
    content = f"{summary.to_csv(index=False)}{sorted(facts.items())}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    drawn = mark.read_text().splitlines() if mark.is_file() else []
    if drawn[:1] == [digest] and all((folder / name).is_file() for name in drawn[1:]):
        return
    from robustssm.figures import robustness

    mark.unlink(missing_ok=True)
    files = robustness.draw_all(summary, folder, **facts)
    for path in folder.glob("robustness*"):
        if path not in files:
            path.unlink()
    names = sorted(path.name for path in files)
    write_atomically(mark, "\n".join([digest, *names]).encode())
