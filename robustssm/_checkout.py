"""Find attacks/, evaluations/ and figures/ when Python starts in a checkout."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BESIDE = frozenset({"robustssm.attacks", "robustssm.evaluations", "robustssm.figures"})


class CheckoutFinder:
    """Meta path finder for the three folders; every other name is left to Python."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of one of the three folders, None for any other name."""
        return PathFinder.find_spec(name, [str(ROOT)]) if name in BESIDE else None


def leave_current_directory() -> None:
    """Take the current directory off the path where Python has put it: `python -m robustssm.cli`.

    Files there that have the names of libraries would be run, though nobody named them. A checkout
    that is found through this directory alone is searched last.
    """
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:  # until the program itself begins
        place = sys.path.pop(0)
        if Path(place).resolve() == ROOT and str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))


def find_folders_beside() -> None:
    """Register the finder; an installed copy has no setup.py beside it and needs none."""
    if (ROOT / "setup.py").is_file() and CheckoutFinder not in sys.meta_path:
        sys.meta_path.insert(0, CheckoutFinder)
