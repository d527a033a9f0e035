"""`robustssm repair`: what to do about a checkpoint that breaks at one frequency."""

import hashlib
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from robustssm.commands import common, terminal

_COLUMNS: tuple[terminal.Column, ...] = (
    ("model", "model", ""),
    ("remedy", "remedy", ""),
    ("clean", "clean", ".3f"),
    ("resonance", "resonance", ".3f"),
    ("difference", lambda row: _difference(row, "resonance"), ""),
    ("worst", "worst mode", ".3f"),
    ("band", "band", ".3f"),
    ("at spike", "spike_gain", ".3g"),
    ("gain", "gain", ".4g"),
    ("clean, difference", lambda row: _difference(row, "clean"), ""),
    ("band, difference", lambda row: _difference(row, "band"), ""),
)


def _difference(row: Any, name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None or low != low else f"[{low:+.2f}, {high:+.2f}]"


@click.command()
@common.shared("names", "models")
@click.option(
    "--remedy",
    "remedies",
    multiple=True,
    metavar="NAME[,NAME]",
    help="damp, damp-tune, augment, penalty. Default: all that can be.",
)
@click.option(
    "--ratio",
    type=float,
    default=2.0,
    help="Gain that a resonance may keep, over the median gain at low frequencies.",
)
@click.option("--epochs", type=int, default=5, help="Epochs of what trains on.")
@click.option("--penalty", type=float, default=1.0, help="Weight of the penalty on peak gains.")
@common.output(help="Folder of the folders repair-<model>. Default: runs.")
@common.shared("task", "limit", "seed", "jobs", "style", "progress")
def repair(
    remedies: tuple[str, ...],
    ratio: float,
    epochs: int,
    penalty: float,
    output: Path | None,
    **options: Any,
) -> None:
    """Repair checkpoints that break at one frequency.

    damp: poles above a quarter of HiPPO's highest spike are damped until the gain at their
    frequency is at most --ratio times the median gain below; needs no data. damp-tune: training
    goes on after it. augment: training goes on, with a sinusoid at the spike at every layer.
    penalty: training goes on, with a penalty on what peak gains are above mean ones.

    Each is written as a checkpoint. All are measured on the same test samples: clean; resonance at
    layers, eps 1; the worst of 16 modes, eps 0.3; BandPGD on low modes, eps 0.1; the gain at the
    spike, and the certified peak gain. Differences from before are 95 % intervals.

    \b
    Examples:
      robustssm repair s4d
      robustssm repair s4d/1 --remedy damp --ratio 2
      robustssm repair own.pt --set prenorm=false --data file:test.npz
    """
    import pandas as pd

    from robustssm.checkpoints.model_names import ModelRef
    from robustssm.commands.sweep_watching import measured_in
    from robustssm.evaluations.repairs import judged
    from robustssm.evaluations.repairs.remedies import REMEDIES, Case, Settings, chosen, trainable
    from robustssm.evaluations.sweep.planning import plan_conditions

    asked = common.SharedOptions(**options)
    settings = Settings(ratio=ratio, epochs=epochs, penalty=penalty)
    models = asked.refs()
    data = plan_conditions(models, (), task=asked.task).task
    data.of_classes("repair")
    command = shlex.join(["robustssm", *sys.argv[1:]])
    cases: list[tuple[ModelRef, Case, list[str]]] = []
    for ref in models:
        checkpoint = ref.load()
        names = chosen(common.names_in(remedies), trainable(checkpoint, data))
        folder = (output or Path("runs")) / f"repair-{str(ref).replace('/', '-')}"
        cases.append((ref, Case(checkpoint, folder, data.length, data, settings, command), names))
    frames, said = [], []
    with asked.steps(sum(len(names) for _, _, names in cases), "repair") as advance:
        for _, case, names in cases:
            case.folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                terminal.note(f"{case.path(name)}: {REMEDIES[name](case)}")
                advance()
    for ref, case, names in cases:
        refs = {judged.BEFORE: ref}
        refs |= {name: ModelRef(name, case.path(name)) for name in names}
        plan = judged.plan_repair(refs, data, asked.limit, asked.seed)
        # Other options are another sweep, which has a folder of its own.
        cells = hashlib.sha256("".join(plan.unique).encode()).hexdigest()[:8]
        with measured_in(case.folder / f"run-{cells}", f"repair {ref}", plan, asked) as run:
            frame = judged.table(run, plan, refs)
        gains = [judged.largest_gain(one.load(), data.length) for one in refs.values()]
        frame[["gain", "spike_gain"]] = gains
        frame.insert(0, "model", str(ref))
        frames.append(frame)
        said.append(f"{ref}: {judged.verdict(frame)}")
    rows = pd.concat(frames, ignore_index=True)
    title = f"{data.spec}, {rows['n'].iloc[0]} samples"
    table = terminal.Table(
        title, rows, _COLUMNS, aside=("gain", "clean, difference", "band, difference")
    )
    content = {"verdicts": said, "rows": rows.to_dict("records")}
    terminal.show(asked.style, table, *said, content=content)
