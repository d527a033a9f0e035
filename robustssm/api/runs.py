"""Sweeps and their runs: what is measured, and how it is read back, compared and drawn."""

import io
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from robustssm.api.models import MEMORY, array_of, refs_of, samples
from robustssm.api.results import drawn, html_table, write_report
from robustssm.arguments import checked, several, wrong
from robustssm.attacks import Attack, Perturbation, Site
from robustssm.attacks.base import input_site
from robustssm.attacks.expressions import make_budget, parse_expression
from robustssm.errors import UsageError, require_one_of
from robustssm.evaluations.results.cell_reader import spike_frequencies
from robustssm.evaluations.results.inspection import Inspection, inspect
from robustssm.evaluations.results.tables import Tables, finish, read_tables
from robustssm.evaluations.sweep.noises import DEFAULT_EPS, Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, Swept, run_sweep
from robustssm.evaluations.sweep.run_directory import ARRAYS, DATA, RunDirectory
from robustssm.execution import resolve_device
from robustssm.storage.writing import write_atomically
from robustssm.tasks import Task
from robustssm.tasks.reading import Array, Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """The results of a sweep, read from its directory once; `open_run` looks again."""

    def __init__(self, path: "str | PathLike[str]") -> None:
        self.path = Path(path)
        self.state: Inspection = inspect(self.path)

    @cached_property
    def tables(self) -> Tables:
        """All tables: `summary`, `tests` and `overview`."""
        return read_tables(self.state)

    @property
    def summary(self) -> pd.DataFrame:
        """One row per model, training seed and condition: the columns of summary.csv."""
        return self.tables.summary.copy()

    @property
    def errors(self) -> dict[str, str]:
        """What went wrong, by cell."""
        return {cell: failure.error for cell, failure in self.state.failed.items()}

    def overview(self) -> pd.DataFrame:
        """Return one row per model, noise and strength."""
        return self.tables.overview.copy()

    def samples(self) -> pd.DataFrame:
        """Return one row per sample and cell, as `robustssm export --to parquet` writes them."""
        from robustssm.evaluations.exports.samples import write_samples

        with TemporaryDirectory() as folder:
            write_samples(self.state, Path(folder) / "samples.parquet")
            return pd.read_parquet(Path(folder) / "samples.parquet")

    @checked
    def compare(self, a: str, b: str, *, by_mode: bool = False) -> pd.DataFrame:
        """Return the differences of two models, a minus b, paired by sample, with 95% intervals.

        a, b: `s4d` (all its training seeds) or `s4d/2`. by_mode: one row per mode and strength,
        instead of one per quantity.
        """
        from robustssm.evaluations.comparison.comparable import gather
        from robustssm.evaluations.comparison.comparison import compare

        compared = gather([self.state.run], [a, b])
        if len(compared.models) < 2:
            raise UsageError(f"compare: {a} and {b} are one model, expected two")
        found = compare(compared, compared.models[-1])
        return found.modes if by_mode else found.differences

    def figure(self, name: str = "robustness", reference: str | None = None) -> "Figure":
        """Return a figure of the run.

        name: `robustness`, `heat-maps`, `differences` or `worst-case`; of several noises the name
        of the file, as in `heat-map-bandnoise-1-16`. reference: model from which differences are
        taken, the first by default.
        """
        from robustssm.figures.sweep_figures import KINDS, draw_tables

        kinds = [kind for kind in KINDS if str(name).startswith(kind.removesuffix("s"))]
        if not kinds:
            require_one_of("figure:", name, KINDS)
        if self.tables.overview.empty:
            raise UsageError(f"run {self.path}: has no finished perturbed cell to draw")
        facts = {key: self.state.run.manifest()[key] for key in ("chance", "length")}
        facts["spikes"] = spike_frequencies(self.state.run.plan())
        facts |= {"partial": self.state.partial, "kinds": kinds, "reference": reference}
        one = None if name in KINDS else name
        return drawn(lambda: draw_tables(self.tables, Path(), **facts), one)

    def report(self, path: "str | PathLike[str]") -> Path:
        """Write a self-contained report, `page.html` or Markdown, and return its path."""
        write_report(self.state, Path(path))
        return Path(path)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.state.counts.items())
        return f"Run({self.state.word}; {counts})"

    def _repr_html_(self) -> str:
        overview = self.tables.overview
        return html_table(repr(self), self.tables.summary if overview.empty else overview)


@checked
def open_run(path: str | PathLike[str]) -> Run:
    """Return the run in a directory that a sweep wrote, finished or not; nothing is written.

    Parameters
    ----------
    path : path
        The run directory.
    """
    return Run(path)


@checked
def sweep(
    models: Any,
    *,
    noise: str | Attack | Sequence[str | Attack] = "fourier",
    modes: str | float | Sequence[float] | None = None,
    eps: float | Sequence[float] = DEFAULT_EPS,
    data: Any = None,
    output: str | PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    noise_seeds: int = 1,
    **options: Any,
) -> Run:
    """Measure robustness curves; the cells are those of `robustssm sweep` to the last byte.

    Where cells fail, a warning says so, and `Run.errors` holds why.

    Parameters
    ----------
    models : str, path, Model, Module, list or dict
        Names, paths, models or torch modules; a dict names them.
    noise : str, Attack or list
        `fourier`, `resonance`, or any perturbation or adversary of `robustssm.attacks`, as text or
        as it is; a text may hold `mode`, as in `Gabor(mode, 0.5, 0.1)`.
    modes : str, int or sequence
        As in `1-64` or `range(1, 65)`: DFT bins, or spikes (resonance).
    eps : float or sequence
        Strengths, beside the clean accuracy.
    data : str, Task, tuple or dict
        Name of a task, or arrays: (x, y), or a dict of `inputs`, `labels` and, if you like, the
        others of `file:` data. x is (batch, length, channels), or (batch, length), of which
        integers are tokens; y is (batch,). The models' own by default.
    output : path, optional
        Run directory, which holds the arrays as well; a second call computes what is missing. By
        default the run lies in a temporary folder for as long as it is used.
    limit : int, optional
        Number of samples, the first ones; marks the result.
    seed, noise_seeds : int
        Seed of the noise, and with how many seeds from there on each noise is drawn.
    **options
        Fields of `sweep.noises.Noise` (eps_unit, inject, clip, ...) and `sweep.run.Execution`
        (jobs, device, ...) in `robustssm.evaluations`; overwrite; figures (draw them into the
        directory); reuse (runs whose cells are taken); watcher (a `sweep.run.Watcher`).
    """
    of_noise, of_execution = ({one.name for one in fields(kind)} for kind in (Noise, Execution))
    allowed = {*of_noise, *of_execution, "figures", "overwrite", "reuse", "watcher"}
    for name in options:
        require_one_of("sweep: option", name, sorted(allowed))
    given = {key: options.pop(key) for key in [*options] if key in of_noise}
    given["modes"] = modes if isinstance(modes, str | None) else several(modes)
    texts = [repr(one) if isinstance(one, Attack) else one for one in several(noise)]
    noises = [Noise(text, eps=several(eps), **given) for text in texts]
    execution = Execution(**{k: options.pop(k) for k in [*options] if k in of_execution})
    refs = refs_of(models)
    kept = TemporaryDirectory(prefix="robustssm-") if output is None else None
    run = RunDirectory(Path(kept.name if kept else str(output)).absolute())
    arrays: Any = {}
    task = str(data) if isinstance(data, PathLike) else data
    if not isinstance(data, str | PathLike | Task | None):
        pair = isinstance(data, tuple | list) and len(data) == 2
        arrays = dict(zip(("inputs", "labels"), data, strict=True)) if pair else data
        if not isinstance(arrays, Mapping) or not {"inputs", "labels"} <= {*arrays}:
            raise wrong("data", data, "a name, (x, y), or a dict of inputs and labels")
        task = samples(Source("data", MEMORY), spec=ARRAYS, **arrays)
        if execution.cluster:
            raise UsageError("data: a cluster does not see arrays in memory; name file: data")
    of: dict[str, Any] = {"task": task, "seed": seed, "noise_seeds": noise_seeds, "limit": limit}
    plan = make_plan(refs, noises, **of, device=resolve_device(execution.device).type)
    reuse = [RunDirectory(Path(path)) for path in several(options.pop("reuse", []))]
    with run.lock():
        if arrays:
            run.check(plan, bool(options.get("overwrite")))
            held: dict[str, Any] = {k: array_of(k, v, "fiuU") for k, v in arrays.items()}
            np.savez(file := io.BytesIO(), **held)
            write_atomically(run.path / DATA, file.getvalue())
        errors = measure(plan, run, execution, reuse=reuse, **options)[0].errors
    if errors:
        first = next(iter(errors.values()))
        said = f"sweep: {len(errors)} cells failed, the first with: {first}; see Run.errors"
        warnings.warn(said, RuntimeWarning, stacklevel=2)
    found = Run(run.path)
    if kept is not None:
        weakref.finalize(found, kept.cleanup)
    return found


def measure(
    plan: Plan, run: RunDirectory, execution: Execution, *, figures: bool = False, **how: Any
) -> tuple[Swept, Tables]:
    """Compute what a run lacks, then write its tables and, if asked for, its figures.

    how: further arguments of `run_sweep`.
    """
    with run.lock():
        swept = run_sweep(plan, run, execution, **how)
        tables = finish(run)
        if figures and not tables.overview.empty:
            from robustssm.figures.sweep_figures import keep_drawn

            facts: dict[str, Any] = {"chance": plan.task.chance, "length": plan.task.length}
            facts["spikes"] = spike_frequencies(run.plan())
            keep_drawn(tables, run.path / "figures", **facts, partial=plan.limit is not None)
    return swept, tables


@checked
def perturb(
    x: Any,
    noise: str | Attack,
    eps: float | None = None,
    *,
    unit: str | None = None,
    seed: int = 0,
    sample_id: Any = None,
    lengths: Any = None,
    site: Site | None = None,
) -> Array:
    """Return x perturbed, shape and dtype as before: what a sweep of x with this seed evaluates.

    Parameters
    ----------
    x : array or Tensor
        Real numbers, (batch, length, channels), or (batch, length) for one channel.
    noise : Attack or str
        A perturbation, as in `robustssm.attacks.Fourier(8)`, or its text, which may name eps.
    eps : float, optional
        Its strength, before that of the text; transforms are applied whole without one.
    unit : str, optional
        `std` (of x, per channel), `rms`, `l2`, `linf`, `snr-db` or `mix`; its own by default.
    seed : int
        Seed of the draws.
    sample_id, lengths : array, optional
        Numbers that draws depend on (0, 1, ... by default), and valid steps, (batch,).
    site : Site, optional
        What is known of the input: `scale`, another std, (channels,); `rate`; `image`.
    """
    values, text = array_of("perturb: x", x), noise if isinstance(noise, str) else repr(noise)
    data = samples(Source("perturb", MEMORY), values, "x", sample_id=sample_id, lengths=lengths)
    data.values("perturb")
    attack, settings = parse_expression(text)
    if not isinstance(attack, Perturbation) or len(attack.alternatives()) > 1:
        raise UsageError(f"{attack.who}: needs a model; use sweep")
    settings |= {k: v for k, v in {"eps": eps, "unit": unit}.items() if v is not None}
    if "eps" not in settings and attack.unit != "mix":
        raise UsageError(f"perturb: {text} has no strength; give eps, as in eps=0.3")
    budget, split = make_budget(text, settings, attack, "input"), data.splits["test"]
    flat = values.reshape(split.inputs.shape) if values.dtype.kind == "f" else split.inputs
    ends = None if split.lengths is None else torch.from_numpy(split.lengths)
    place, ids = site or input_site(data), split.sample_id
    before = torch.from_numpy(flat)
    after = attack.perturb(before, ends, ids, seed, budget=budget, site=place).numpy()
    return after if values.ndim == 3 else after[:, :, 0]
