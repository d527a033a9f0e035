"""SpectralAutoAttack in the whole band, each of its parts, BandPGD, and the authors' AutoAttack.

    python benchmarks/auto_attack.py --model s4,s4d --samples 256 --output docs/data/autoattack.csv

A row per data, model, norm, strength and attack; what is in the file is not run again. Parts are
run as the ensembles run them, on what the parts before have left: left is how many samples are
right after each, ids which, in the row of the last; forwards, backwards and seconds are per sample
of the set. alone: how many are right after the part by itself. The authors' package (pip install
'.[reference]') runs with --authors, on images with values in [0, 1] in which ten times the strength
fits on both sides of the signals, so that its clipping does not bind; signals that are no images
are folded into rows. --summary prints what the file says of each strength, or costs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from timing import append, output
from torch import Tensor, nn

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import (
    Adversary,
    BandPGD,
    SpectralAutoAttack,
    Target,
    Victim,
)
from robustssm.checkpoints.bundled import trained_on
from robustssm.checkpoints.model_names import resolve
from robustssm.execution import one_thread
from robustssm.tasks import Task, load_task

PARTS = ("apgd-ce", "apgd-t", "fab-t", "square")
KEY = ["data", "model", "norm", "eps", "samples"]
COLUMNS = ",".join([*KEY, "attack", "left", "alone", "forwards", "backwards", "seconds", "ids"])
ROOM = 10.0
# Attacks a target: which samples are broken, forwards, backwards.
Part = Callable[[Target], tuple[Tensor, int, int]]


class Images(nn.Module):
    """A network as one of images (batch, 1, rows, columns) in [0, 1]; counts samples."""

    def __init__(self, target: Target, shape: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.shape, self.passes = target.victim.network, shape, [0, 0]
        self.low = float(target.x.min()) - ROOM * target.budget.eps
        self.width = float(target.x.max()) + ROOM * target.budget.eps - self.low

    def images(self, x: Tensor) -> Tensor:
        """Return signals (batch, length, 1) as images."""
        return ((x - self.low) / self.width).mT.unflatten(2, self.shape)

    def signals(self, images: Tensor) -> Tensor:
        """Return the signals of images."""
        return images.flatten(2).mT * self.width + self.low

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        self.passes[0] += len(images)
        self.passes[1] += len(images) * images.requires_grad
        logits: Tensor = self.network(self.signals(images))
        return logits


def theirs(part: str, shape: tuple[int, int]) -> Part:
    """Return the authors' part with the settings of their standard version."""

    def run(target: Target) -> tuple[Tensor, int, int]:
        model = Images(target, shape)
        eps, norm = target.budget.eps / model.width, {"l2": "L2", "linf": "Linf"}
        name = norm[target.budget.unit]
        attack = import_module("autoattack").AutoAttack(
            model, name, eps, target.seed, verbose=False, device="cpu"
        )
        attack.attacks_to_run = [part]
        with torch.random.fork_rng():
            images = model.images(target.x)
            found = attack.run_standard_evaluation(images, target.labels, bs=len(images))
        forwards, backwards = model.passes
        return target.margins(model.signals(found)) <= 0.0, forwards, backwards

    return run


def ours(attack: Adversary) -> Part:
    """Return an attack, with the passes of its part alone where it is an ensemble."""

    def run(target: Target) -> tuple[Tensor, int, int]:
        found = attack.attack(target)
        passes: Any = found.flags.get("passes", {"": (found.forwards, found.backwards)})
        return found.success, *next(iter(passes.values()))

    return run


def ensemble(target: Target, parts: dict[str, Part], alone: bool) -> Iterator[dict[str, object]]:
    """Yield what each part leaves and takes, and what it leaves alone."""
    right = left = target.margins(target.x) > 0.0
    for name, part in parts.items():
        last = name == [*parts][-1]
        before, begun = left, time.perf_counter()
        none = left[before], 0, 0
        broken, forwards, backwards = part(target.select(before)) if before.any() else none
        seconds = time.perf_counter() - begun
        left = before.clone()
        left[before] = ~broken
        spared, by_itself = right & ~before, int(left.sum())
        if alone and spared.any():  # a sample's draws are the same whoever is beside it
            by_itself += int((~part(target.select(spared))[0]).sum())
        spent = {"forwards": forwards, "backwards": backwards, "seconds": seconds}
        yield {
            "attack": name,
            "left": int(left.sum()),
            "alone": by_itself if alone else None,
            "ids": " ".join(map(str, target.sample_id[left.numpy()])) if last else "",
            **{key: value / len(target) for key, value in spent.items()},
        }


def folded(task: Task) -> tuple[int, int]:
    """Return rows and columns of a task's images, or of signals as near to squares as they fold."""
    rows = max(k for k in range(1, int(task.length**0.5) + 1) if task.length % k == 0)
    return task.image or (rows, task.length // rows)


def strengths_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the ensembles leave at each strength, and which samples one alone breaks."""
    ends = [PARTS[-1], f"authors' {PARTS[-1]}"]
    values = ["left", "alone", "ids"]
    wide = rows.pivot_table(values, KEY, "attack", aggfunc="first", sort=False)
    wide = wide.dropna(subset=[("left", end) for end in ends])
    found = wide["left"][["BandPGD", *ends]].set_axis(["pgd", "ours", "authors"], axis=1)
    found["best_part"] = wide["alone"][[*PARTS]].min(axis=1)
    pairs = wide["ids"][ends].to_numpy()
    ids = [[set(one.split()) for one in pair] for pair in pairs]
    found["only_ours"] = [" ".join(sorted(b - a, key=int)) for a, b in ids]
    found["only_authors"] = [" ".join(sorted(a - b, key=int)) for a, b in ids]
    return rows[KEY].drop_duplicates().merge(found.reset_index(), on=KEY)


def costs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what a sample costs each attack, means over models and strengths."""
    spent = ["forwards", "backwards", "seconds"]
    return rows.groupby(["data", "norm", "attack"], sort=False)[spent].mean().reset_index()


SUMMARIES = {"strengths": strengths_of, "costs": costs_of}


@click.command(help=(__doc__ or "").replace("\n\n    python", "\n\n\b\n    python"))
@click.option("--data", default="digits:side=16", show_default=True, help="Task of the samples.")
@click.option("--model", default="s4,s4d,s4ptd,s5", show_default=True, help="Names of models.")
@click.option("--samples", default=256, show_default=True, help="Samples of the test split.")
@click.option("--strengths", default="l2=0.6,linf=0.05", show_default=True)
@click.option("--authors", is_flag=True, help="Run the authors' package, and nothing else.")
@click.option("--small", is_flag=True, help="Few steps.")
@click.option("--summary", type=click.Choice([*SUMMARIES]), help="Print this of the file alone.")
@output
def main(
    data: str,
    model: str,
    samples: int,
    strengths: str,
    authors: bool,
    small: bool,
    summary: str | None,
    output: Path | None,
) -> None:
    """Run what is not in the file yet."""
    if summary:
        if not (output and output.exists()):
            raise click.UsageError(
                f"--summary: no rows in {output}, expected --output FILE with some"
            )
        rows = pd.read_csv(output, comment="#", dtype={"ids": str}).fillna({"ids": ""})
        found = SUMMARIES[summary](rows)
        return click.echo(found.to_csv(index=False, float_format="%.4g"), nl=False)
    task = load_task(data)
    click.echo(COLUMNS)
    if output and not output.exists():
        output.write_text(f"# python benchmarks/auto_attack.py, one thread\n{COLUMNS}\n")
    known = pd.read_csv(output, comment="#") if output else pd.DataFrame(columns=COLUMNS.split(","))
    done = set(known[[*KEY, "attack"]].itertuples(index=False, name=None))
    peer = {"BandPGD": ours(BandPGD(0, task.length // 2, drop=True))}
    if authors:
        parts = {f"authors' {part}": theirs(part, folded(task)) for part in PARTS}
    else:
        settings: dict[str, Any] = {"steps": 2, "queries": 5, "targets": 2} if small else {}
        band = 0, task.length // 2
        parts = {p: ours(SpectralAutoAttack(*band, "custom", (p,), **settings)) for p in PARTS}
    for named in resolve(model):
        ref = replace(named, path=trained_on(named.path, data))
        for norm, _, number in (one.partition("=") for one in strengths.split(",")):
            key = data, str(ref), norm, float(number), samples
            with one_thread(), Victim(ref.load().network) as victim:
                target = Target.of(victim, task, Budget(float(number), norm), 0, samples)
                for group in [parts] if authors else [parts, peer]:
                    if (*key, [*group][-1]) in done:
                        continue
                    for row in ensemble(target, group, not authors):
                        append({**dict(zip(KEY, key, strict=True)), **row}, COLUMNS, output)


if __name__ == "__main__":
    main()
