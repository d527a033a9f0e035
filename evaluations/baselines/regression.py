"""From a baseline and models to verdicts: what must be measured, measured as sweeps are, judged."""

from collections.abc import Sequence

from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import RejectedInputError
from robustssm.evaluations.baselines.baseline import Baseline, Member
from robustssm.evaluations.baselines.check import ALPHA, UNJUDGED, Check
from robustssm.evaluations.baselines.verdicts import MARGIN, judge
from robustssm.evaluations.results import cell_reader
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import recorded_task


def plan_check(
    baseline: Baseline,
    refs: Sequence[ModelRef],
    against: str | None = None,
    device: str = "cpu",
    task: str | None = None,
) -> Plan:
    """Return the plan of what must be measured; RejectedInputError for other data than these.

    task: the data, which has to be named if the baseline's are no generated ones (UsageError).
    """
    data = baseline.data
    if task is None:
        recorded_task(data.task, "baseline")
    wanted: dict[str, Condition] = {}
    for ref in refs:
        for member in baseline.against(against, ref.label):
            wanted.update((one, baseline.conditions[one]) for one in member.ids)
    plan = plan_conditions(
        refs, tuple(wanted.values()), task=task or data.task, seed=data.seed, limit=data.limit,
        device=device,
    )  # fmt: skip
    found = len(plan.task.splits["test"].first(data.limit))
    if plan.task.content_hash != data.task_hash or found != data.samples:
        raise RejectedInputError(
            f"task {data.task}: has data hash {plan.task.content_hash[:12]} and {found} samples "
            f"here, the baseline's are {data.task_hash[:12]} and {data.samples}; outcomes would "
            "not be paired, make a baseline of these data"
        )
    return plan


def checks(
    baseline: Baseline,
    plan: Plan,
    run: RunDirectory,
    against: str | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    unjudged: float = UNJUDGED,
) -> list[Check]:
    """Return the check of every model of a measured plan, in its order."""
    found = []
    for model in plan.models:
        outcomes = cell_reader.outcomes(run, model.ref.label, model.train_seed)
        ids = {
            cell.condition.id: cell.id
            for cell in plan.cells
            if cell.model is model and cell.condition
        }
        place = {cell: k for k, cell in enumerate(outcomes.conditions["cell"])}
        members = baseline.against(against, model.ref.label)
        rows = [place[ids[one]] for one in members[0].ids]
        measured = Member(
            model.ref.label, model.train_seed, model.content_hash, members[0].ids,
            outcomes.clean, outcomes.correct[rows],
        )  # fmt: skip
        found.append(judge(baseline, measured, members, margin, alpha, unjudged))
    return found
