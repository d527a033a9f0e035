"""The optimal detector of `frequency-discrimination`, as a model of this project.

    robustssm sweep -m best=tests/evaluations/calibration/detector.py:random_phase \
        -d frequency-discrimination --noise "ColouredNoise(0)" --eps 0,0.5,1,2

Where the task has other parameters than its defaults, write a file of your own that returns
`Detector(...)` with the same ones.

Source: Proakis and Salehi, Digital Communications (5th edition, 2008), section 4.5-1 for a phase
that is uniform, 4.2 for one that is known.
"""

import math

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError
from robustssm.tasks.frequency_discrimination import PHASES, class_bins


class Detector(nn.Module):
    """Logarithms of the classes' likelihoods in white Gaussian noise, up to a constant.

    With c_j the correlation of the input with exp(-2 pi i k_j t / L): log I0(amplitude |c_j| /
    noise^2) for a random phase, amplitude Re c_j / noise^2 for a known one. So the largest logit
    is the best answer, and their softmax the classes' probabilities. Parameters: of the task;
    noise above 0. Raises UsageError for others.
    """

    d_input = 1

    def __init__(
        self,
        length: int = 256,
        classes: int = 2,
        low: int = 8,
        high: int = 32,
        noise: float = 3.0,
        amplitude: float = 1.0,
        phase: str = "random",
    ) -> None:
        super().__init__()
        if not noise > 0.0 or phase not in PHASES:
            raise UsageError(
                f"detector: noise is {noise:g} and phase {phase!r}, expected noise above 0 and "
                f"phase {' or '.join(PHASES)}"
            )
        self.d_output, self.phase, self.weight = classes, phase, amplitude / noise**2
        bins = torch.from_numpy(class_bins(length, classes, low, high))
        # Whole turns are left out before the angle is rounded.
        turns = (bins[:, None] * torch.arange(length)) % length
        angle = 2.0 * math.pi * turns.double() / length
        self.register_buffer("cosine", torch.cos(angle), persistent=False)
        self.register_buffer("sine", torch.sin(angle), persistent=False)
        self.cosine: Tensor
        self.sine: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes), float64, of x (batch, length, 1). Raises UsageError."""
        if x.shape[1:] != (self.cosine.shape[1], 1):
            raise UsageError(
                f"detector: input has shape {tuple(x.shape)}, expected (batch, "
                f"{self.cosine.shape[1]}, 1); make it with the parameters of the task"
            )
        signal = x[:, :, 0].double()
        real = signal @ self.cosine.T
        if self.phase == "known":
            return self.weight * real
        size = self.weight * torch.hypot(real, signal @ self.sine.T)
        return torch.log(torch.special.i0e(size)) + size


def random_phase() -> Detector:
    """Return the detector of `frequency-discrimination`."""
    return Detector()


def known_phase() -> Detector:
    """Return the detector of `frequency-discrimination:phase=known`."""
    return Detector(phase="known")
