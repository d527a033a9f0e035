"""`robustssm perturb`: one perturbation applied to data, and saved."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import completion, terminal
from robustssm.commands.common import SharedOptions, choice, output, path_option, shared
from robustssm.commands.parameter_types import Range
from robustssm.errors import UsageError


@click.command()
@click.argument("perturbation", required=False, shell_complete=completion.noises)
@shared("task")
@choice("--split", of=("test", "train", "validation"), help="Which samples.")
@choice("--clip", of=("none", "hard", "rescale"), help="Keep the data in --range, as in sweep.")
@click.option(
    "--range", "limits", type=Range(), help="Valid range of the data for --clip, as in 0,1."
)
@output(suffix=".npz", help="File to write (.npz), new or replaced.")
@path_option(
    "--gallery", file_okay=False, help="Draw one sample under every family into this folder."
)
@path_option(
    "--time-frequency",
    "maps",
    file_okay=False,
    help="Draw a test sample's short-time spectra, clean and perturbed, into this folder.",
)
@click.option("--sample", default=0, help="Index in the split of the sample that is drawn.")
@shared("seed", "limit", "style")
def perturb(
    perturbation: str | None,
    split: str,
    clip: str,
    limits: tuple[float, float] | None,
    output: Path | None,
    gallery: Path | None,
    maps: Path | None,
    sample: int,
    **options: Any,
) -> None:
    """Perturb a task's data, and save them.

    The delivered strength is reported. The strength belongs to the expression: eps, with unit
    std, rms, l2, linf, snr-db or mix; `robustssm ls noises` lists what there is. The
    file holds `input` (samples, length, channels), `label`, `sample_id`, `lengths` where samples
    end early, and what was delivered to each sample.

    \b
    Examples:
      robustssm perturb 'BandNoise(1, 16, eps=0.3)' -o noisy.npz
      robustssm perturb 'Fourier(20, eps=10, unit="snr-db")' --limit 100
      robustssm perturb 'BandNoise(1, 16, eps=1)' --clip hard --range 0,1 -o x.npz
      robustssm perturb --gallery figures
      robustssm perturb 'Chirp(2, 60, eps=1)' --time-frequency figures
    """
    if (perturbation is None) == (gallery is None):
        raise UsageError("perturb: name one perturbation, or --gallery; --help shows how")
    asked = SharedOptions(**{**options, "task": options["task"] or "digits"})
    if gallery is not None:
        from robustssm.figures.perturbations import draw_all

        terminal.note(*map(str, draw_all(str(asked.task), gallery, seed=asked.seed)))
    elif maps is not None:
        _draw_maps(str(perturbation), str(asked.task), sample, asked.seed, maps)
    else:
        _apply(str(perturbation), (clip, limits), split, output, asked)


def _draw_maps(text: str, task_spec: str, sample: int, seed: int, folder: Path) -> None:
    from robustssm.attacks import parse_perturbation
    from robustssm.figures.time_frequency import draw_time_frequency, short_time_spectra
    from robustssm.tasks import load_task

    perturbation, budget = parse_perturbation(text)
    task = load_task(task_spec)
    spectra = short_time_spectra(task, perturbation, budget, sample=sample, seed=seed)
    identity = task.splits["test"].sample_id[sample]
    about = f"{task.spec}, test sample {identity}, {text}, seed {seed}"
    terminal.note(*map(str, draw_time_frequency(spectra, folder, about)))


def _apply(
    text: str,
    clipping: tuple[str, tuple[float, float] | None],
    split_name: str,
    output: Path | None,
    asked: SharedOptions,
) -> None:
    import json
    import math
    from dataclasses import replace

    import numpy as np
    import torch

    from robustssm.attacks import Delivered, fingerprint, parse_perturbation
    from robustssm.attacks.base import input_site
    from robustssm.storage.writing import new_file
    from robustssm.tasks import load_task

    perturbation, budget = parse_perturbation(text)
    clip, limits = clipping
    if clip != "none" or limits:
        low, high = limits or (-math.inf, math.inf)
        budget = replace(budget, clip=clip, low=low, high=high)
    if "input" not in perturbation.sites:
        raise UsageError(
            f"{perturbation.who}: acts at {' or '.join(perturbation.sites)}, so that there are no "
            "perturbed data to save; use sweep"
        )
    if len(perturbation.alternatives()) > 1:
        raise UsageError(
            f"{perturbation.who}: the worst of several phases needs a model; use sweep"
        )
    task = load_task(str(asked.task))
    task.values("perturb")
    part = task.splits[split_name].first(asked.limit)
    x, site = torch.from_numpy(part.inputs), input_site(task)
    lengths = None if part.lengths is None else torch.from_numpy(part.lengths)
    after = perturbation.perturb(x, lengths, part.sample_id, asked.seed, budget=budget, site=site)
    delivered = Delivered(len(x))
    delivered.add(x, after, perturbation, site, lengths)
    mark = fingerprint(after, part.sample_id)
    sizes = {"l2": delivered.l2, "linf": delivered.largest, "rms": delivered.rms}
    sizes["snr_db"] = delivered.snr_db
    if output is not None:
        held: dict[str, Any] = {} if part.lengths is None else {"lengths": part.lengths}
        held |= {f"delivered_{name}": size for name, size in sizes.items()}
        about = {
            "perturbation": repr(perturbation), "budget": repr(budget), "seed": asked.seed,
            "task": task.spec, "task_hash": task.content_hash, "split": split_name,
            "fingerprint": mark,
        }  # fmt: skip
        with new_file(output) as partial, partial.open("wb") as file:
            np.savez(
                file,
                input=after.numpy(),
                label=part.labels,
                sample_id=part.sample_id,
                **held,
                in_band_share=delivered.share,
                about=np.array(json.dumps(about)),
            )
        terminal.note(f"{output}: {len(x)} samples written")
    row = {
        "perturbation": repr(perturbation),
        "eps": budget.eps,
        "unit": budget.unit,
        "clip": budget.range,
        "n": len(x),
        **{f"mean_{name}": float(size.mean()) for name, size in sizes.items()},
        "least_in_band_share": float(delivered.share.min()),
        "fingerprint": mark,
    }
    title = f"{task.spec}, {split_name}, seed {asked.seed}"
    terminal.show(asked.style, terminal.Table(title, [row], upright=True))
