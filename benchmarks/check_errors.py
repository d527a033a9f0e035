"""How often `check` is wrong, and how often it finds a fall: simulated seeds, nominal and measured.

    python benchmarks/check_errors.py --output docs/data/check-errors.csv

Each trial draws the accuracies of k training seeds and of one more at all conditions, the clean
accuracy among them, and holds the one against the others with the functions of `check`. `error`: a
share of trials in which anything fell, though the seeds are of one distribution. `power`: the share
in which a fall of 0.4 at one condition was found there. Accuracies are those of 539 samples around
0.9 (clean: 0.97); seeds differ, with a standard deviation of 0.06 (0.02) on the arcsine scale,

    normal        normally there; `accuracy`: normally on the scale of accuracies;
    bimodal       as one of two kinds, alike often, 4 deviations apart, at each condition anew;
    two kinds     as one of two kinds at all conditions alike;
    rare kind     the same, the worse kind with probability 1 / (k + 1);
    rare anew     that at each condition anew;

    even          alike at all conditions; `fifth`: four times as much at one condition of five;
    one           four times as much at one condition, and not at all at the others;
    common        half of their variance in common at all conditions.

Intervals are Wilson's, 95 %. The trials are a function of the row alone.
"""

import itertools
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import click
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from timing import output, save

from robustssm.evaluations.baselines.baseline import Data
from robustssm.evaluations.baselines.check import ALPHA
from robustssm.evaluations.baselines.verdicts import MARGIN, against_seeds
from robustssm.evaluations.statistics.intervals import wilson
from robustssm.typing import FloatArray

SAMPLES, FALL = 539, 0.4
DATA = Data("simulated", "", SAMPLES, None, 0.1, 0)
SEEDS, CONDITIONS = (2, 3, 5), (1, 6, 64, 258)
KINDS = ("normal", "accuracy", "bimodal", "two kinds", "rare kind", "rare anew")
SPREADS = ("even", "fifth", "one", "common")


class Scene(NamedTuple):
    """One row: training seeds, conditions, and how seeds differ."""

    seeds: int
    conditions: int
    kind: str
    spread: str


def accuracies(scene: Scene, rng: np.random.Generator, fall: float) -> FloatArray:
    """Return measured accuracies (seeds + 1, 1 + conditions); the last seed has fallen at one."""
    count, m = scene.seeds + 1, scene.conditions
    z = rng.standard_normal((count, 1 + m))
    if scene.spread == "common":
        z = np.sqrt(0.5) * (z + rng.standard_normal((count, 1)))
    if scene.kind not in ("normal", "accuracy"):
        shape = (count, 1 + m if scene.kind in ("bimodal", "rare anew") else 1)
        worse = 1 / count if scene.kind.startswith("rare") else 0.5
        z = (z + 2.0 * rng.choice((-1.0, 1.0), shape, p=(worse, 1 - worse))) / np.sqrt(5.0)
    place = np.arange(1 + m)
    scale = np.full(1 + m, 0.06)
    if scene.spread == "fifth":
        scale[place % 5 == 1] *= 4.0
    elif scene.spread == "one":
        scale = np.where(place == 1, 0.24, 0.0)
    scale[0] = 0.02
    middle = np.where(place == 0, 0.97, 0.9)
    if scene.kind == "accuracy":
        # The slope of sin^2 at 0.9.
        truth = middle + 2.0 * np.sqrt(middle * (1.0 - middle)) * scale * z
    else:
        angle = np.arcsin(np.sqrt(middle)) + scale * z
        truth = np.sin(np.clip(angle, 0.0, np.pi / 2)) ** 2
    truth[-1, min(2, m)] -= fall
    return rng.binomial(SAMPLES, np.clip(truth, 0.0, 1.0)) / SAMPLES


def measured(scene: Scene, trials: int) -> dict[str, object]:
    """Return the row of a scene: shares of trials with an error, and with the fall found."""
    row: dict[str, object] = {**scene._asdict(), "nominal": ALPHA}
    whole = scene.conditions > 1
    for what, fall in (("error", 0.0), ("power", FALL)):
        count = 0
        rng = np.random.Generator(np.random.Philox(crc32(f"{scene} {what}".encode())))
        for _ in range(trials):
            shares = accuracies(scene, rng, fall)
            table = against_seeds(shares[:-1], shares[-1], DATA, whole, MARGIN, ALPHA)
            fell = table["fell"] & (table["measured"] - table["baseline"] < -MARGIN)
            fell &= ~table["apart"]
            count += bool(fell.any() if what == "error" else fell[min(2, scene.conditions)])
        low, high = wilson(count, trials)
        row |= {what: count / trials, f"{what}_low": float(low), f"{what}_high": float(high)}
    return {**row, "trials": trials}


@click.command(help=__doc__)
@click.option("--trials", default=1000, help="Trials of a row; a quarter at 258 conditions.")
@output
@click.option("--jobs", default=-1, help="Processes.")
def main(trials: int, output: Path | None, jobs: int) -> None:
    """Print, and write, the rows of all scenes."""
    scenes = [
        Scene(*values)
        for values in itertools.product(SEEDS, CONDITIONS, KINDS, SPREADS)
        # One condition is all there is, and kinds of seeds are in common already.
        if not (values[1] == 1 and values[3] != "even")
        and not (values[2] in ("two kinds", "rare kind") and values[3] == "common")
    ]
    found = Parallel(n_jobs=jobs)(
        delayed(measured)(scene, max(1, trials // 4) if scene.conditions > 64 else trials)
        for scene in sorted(scenes, key=lambda scene: -scene.conditions)
    )
    order = {scene: place for place, scene in enumerate(scenes)}
    rows = sorted(found, key=lambda row: order[Scene(*(row[name] for name in Scene._fields))])
    table = pd.DataFrame(rows)
    save(output, f"python benchmarks/check_errors.py --trials {trials}", rows)
    with pd.option_context("display.width", 100, "display.max_rows", None):
        click.echo(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
