"""Checks of the noise: published answers, and draws that depend on their sample alone."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks import fingerprint, parse_perturbation
from robustssm.attacks.base import input_site
from robustssm.attacks.kept import forget
from robustssm.evaluations.doctor.base import Finding, Setting, judge
from robustssm.tasks import load_task
from robustssm.typing import IntArray

# (counter, key, words). Random123 1.09, file kat_vectors, philox4x32 with 10 rounds.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
# What the first test samples of digits:side=16 become under noise of seed 0. The arithmetic
# is float64, rounded to float32 at its end: another machine's last bits are lost in that.
STORED = {
    "Fourier(8, eps=0.3)": "5c84467c484a6ca9",
    "BandNoise(1, 16, eps=0.3)": "f6a80cfd5ab4f42e",
    "Impulses(5, eps=0.3)": "47c2316192d4dcae",
}
_SAMPLES = 40


def known_answers(setting: Setting) -> Finding:
    """Compare Philox 4x32-10 with its published vectors."""
    wrong = sum(
        tuple(philox.random_words(np.array(counter, np.uint64), key).tolist()) != words
        for counter, key, words in KNOWN
    )
    return judge(
        "Philox 4x32-10 with the vectors of Random123",
        "vectors that differ",
        wrong,
        "integer arithmetic is exact",
        {"vectors": len(KNOWN)},
    )


def _dependent(make: Callable[[IntArray], Tensor], count: int) -> int:
    """Return how many samples differ between all at once and some other way to take them.

    One by one, in sevens, backwards, shuffled in blocks of 16.
    """
    order = np.random.Generator(np.random.Philox(0)).permutation(count)
    everything = np.arange(count)
    together = make(everything)
    differs = torch.zeros(count, dtype=torch.bool)
    for way, size in ((everything, 1), (everything, 7), (everything[::-1], count), (order, 16)):
        for start in range(0, count, size):
            rows = way[start : start + size]
            index = torch.from_numpy(rows.copy())
            differs[index] |= (make(rows) != together[index]).flatten(1).any(1)
    return int(differs.sum())


def draws(setting: Setting) -> Finding:
    """Compare draws of samples taken together, alone, in sevens and in other orders."""
    # Small numbers and such as need both words of a counter.
    ids = np.concatenate([np.arange(32), np.arange(32) * 2**33 + 7])
    differ = sum(
        _dependent(lambda rows, draw=draw: draw("doctor", ids[rows], 101), len(ids))  # type: ignore[misc]
        for draw in (philox.uniform_tensor, philox.normal_tensor)
    )
    return judge(
        "draws of a sample alone with those in batches of any size and order",
        "samples whose draws differ in any bit",
        differ,
        "a draw is a function of seed, perturbation and sample",
        {"samples": 2 * len(ids)},
    )


def perturbed(setting: Setting) -> Finding:
    """Compare perturbed inputs with those of other batches, and with stored fingerprints."""
    task = load_task("digits:side=16")
    part, site = task.splits["test"].first(_SAMPLES), input_site(task)

    def noisy(text: str, rows: IntArray) -> Tensor:
        perturbation, budget = parse_perturbation(text)
        x, ids = torch.from_numpy(part.inputs[rows]), part.sample_id[rows]
        forget()  # each is drawn anew
        return perturbation.perturb(x, None, ids, 0, budget=budget, site=site)

    wrong, changed = 0, []
    for text, stored in STORED.items():
        make = partial(noisy, text)
        wrong += _dependent(make, len(part))
        mark = fingerprint(make(np.arange(len(part))), part.sample_id)
        if mark != stored:
            changed.append(f"{text} {mark}, stored {stored}")
    return judge(
        "perturbed samples with those of other batches, and with stored fingerprints",
        "samples and fingerprints that differ in any bit",
        wrong + len(changed),
        "two models, machines or versions are compared on the same noise or not at all",
        {"perturbations": ", ".join(STORED), "changed": "; ".join(changed)},
    )
