"""A pytest fixture that holds checkpoints against a baseline of robustness curves.

    def test_my_model(robustness):
        robustness.check("mine.safetensors", baseline="curve.json")

It is there in every pytest session where robustssm is installed, and imports what it needs at the
first check. The baseline comes from `robustssm baseline`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robustssm.evaluations.baselines.check import Check


class Robustness:
    """Holds models against baselines; folder: where files are looked for first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(
        self,
        *models: str | Path,
        baseline: str | Path,
        against: str | None = None,
        margin: float = 0.02,
        alpha: float = 0.05,
        unjudged: float = 0.2,
        jobs: int = 1,
        data: str | None = None,
    ) -> "list[Check]":
        """Fail the test where a curve fell below the baseline, or could not; return the checks.

        models: as of `robustssm check`: names of the zoo, name=path, or checkpoint files. Files
        are looked for beside the test's file, then in the current directory. against, margin,
        alpha, unjudged: as there; jobs: processes; data: the baseline's, if they are read from
        files. What is wrong with the arguments fails the
        test, too.
        """
        __tracebackhide__ = True
        from tempfile import TemporaryDirectory

        from robustssm.checkpoints.model_names import resolve
        from robustssm.errors import RobustssmError
        from robustssm.evaluations.baselines.files import read_baseline
        from robustssm.evaluations.baselines.regression import checks, plan_check
        from robustssm.evaluations.sweep.run import Execution, run_sweep
        from robustssm.evaluations.sweep.run_directory import RunDirectory

        try:
            held = read_baseline(Path(self._found(str(baseline))))
            plan = plan_check(held, resolve(map(self._model, models)), against, task=data)
            with TemporaryDirectory() as folder:
                run = RunDirectory(Path(folder))
                errors = run_sweep(plan, run, Execution(jobs=jobs)).errors
                found = [] if errors else checks(held, plan, run, against, margin, alpha, unjudged)
        except RobustssmError as error:
            pytest.fail(str(error), pytrace=False)
        if errors:
            first = next(iter(errors.values()))
            pytest.fail(
                f"check: {len(errors)} cells failed, the first with: {first}", pytrace=False
            )
        if not all(one.passed for one in found):
            lines = [one.report() for one in found]
            lines += [one.not_judged() for one in found if not one.judged]
            notes = dict.fromkeys(line for one in found for line in one.notes())
            pytest.fail("\n".join([*lines, *notes]), pytrace=False)
        return found

    def _model(self, model: str | Path) -> str:
        label, equals, path = str(model).rpartition("=")
        return f"{label}{equals}{self._found(path)}"

    def _found(self, path: str) -> str:
        """Return a path beside the test's file where there is such a file, else as it is."""
        beside = self._folder / path
        return str(beside) if beside.is_file() else path


@pytest.fixture
def robustness(request: pytest.FixtureRequest) -> Robustness:
    """Hold checkpoints against a baseline: `robustness.check("mine.safetensors", baseline=...)`."""
    return Robustness(request.path.parent)
