"""What reached each sample: measured from the signals, after clipping and rounding.

What is added to layers' inputs in place is measured before rounding.
"""

import hashlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.base import Attack, Site
from robustssm.attacks.blocks import blocks
from robustssm.attacks.units import energies, largest
from robustssm.typing import FloatArray, IntArray


class Delivered:
    """What reached each sample of a batch, summed over the sites of one forward pass.

    energy: sum of squares of the perturbation; signal: of what it was added to; largest: its
    maximum modulus; in_band: the part of the energy in the named band; count: perturbed values.
    All (batch,), float64.

    Parameters
    ----------
    batch : int
        Number of samples.
    """

    def __init__(self, batch: int) -> None:
        self.energy, self.signal, self.largest, self.in_band, self.count = np.zeros((5, batch))

    @torch.no_grad()
    def add(
        self,
        before: Tensor,
        after: Tensor,
        attack: Attack,
        site: Site,
        lengths: Tensor | None = None,
        first: int = 0,
    ) -> None:
        """Book after - before, (batch, length, channels), of a site; first: the first sample."""
        before = attack.extended(before) if after.shape != before.shape else before
        site = replace(site, length=before.shape[1])
        for rows, real, valid in blocks(lengths, before):
            x = before[rows, :valid].double()
            delta = after[rows, :valid].double() - x
            energy, signal = energies(delta), energies(x)
            measured = torch.stack([energy, signal, attack.in_band(delta, site), largest(delta)])
            index = first + rows[:real].cpu().numpy()
            self.book(index, measured[:, :real], valid * delta.shape[2])

    def book(self, index: IntArray, measured: Tensor, count: int) -> None:
        """Book what `Perturbation.add` returns for the samples `index`, of `count` values each."""
        energy, signal, in_band, largest = measured.cpu().numpy()
        self.energy[index] += energy
        self.signal[index] += signal
        self.in_band[index] += in_band
        self.largest[index] = np.maximum(self.largest[index], largest)
        self.count[index] += count

    @property
    def l2(self) -> FloatArray:
        """Euclidean norm per sample."""
        return np.sqrt(self.energy)

    @property
    def rms(self) -> FloatArray:
        """Root mean square per sample, over all valid values of all perturbed sites."""
        return np.sqrt(self.energy / np.maximum(self.count, 1.0))

    @property
    def snr_db(self) -> FloatArray:
        """Signal to noise ratio per sample in dB; inf if nothing was added."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self.energy > 0.0,
                10.0 * (np.log10(self.signal) - np.log10(self.energy)),
                np.inf,
            )

    @property
    def share(self) -> FloatArray:
        """Share of energy in the named band, 1 if nothing was added; rounding gives no more."""
        safe = np.where(self.energy > 0.0, self.energy, 1.0)
        return np.where(self.energy > 0.0, np.minimum(self.in_band / safe, 1.0), 1.0)


def fingerprint(x: Tensor, sample_id: IntArray) -> str:
    """Return a hash of perturbed inputs, 16 hexadecimal digits, whatever the samples' order.

    Two models were given the same noise exactly if their fingerprints agree.

    Parameters
    ----------
    x : Tensor
        Perturbed inputs, (batch, length, channels).
    sample_id : array of int
        (batch,).
    """
    digest = hashlib.sha256(str(tuple(x.shape[1:])).encode())
    for row in np.argsort(sample_id, kind="stable"):
        digest.update(int(sample_id[row]).to_bytes(8, "little"))
        digest.update(x[row].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
