"""What is known of a part of an activation, and of its linear images: norms that hold at once.

Entries, the l2 norm over channels at each step, the l2 norm in all. The sum of D rho^2 under such
limits is a linear programme whose solution fills the heaviest entries first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.evaluations.certificates.curvature import spectral_norms

# Added to divisors that may vanish, as of a channel that passes nothing.
TINY = 1e-300


class Remainder:
    """Bounds of rho: entry (L, d), step (L,) l2 over channels, total () l2 over all.

    Each is the one given or what the others imply, if that is less.
    """

    def __init__(
        self, entry: Tensor, step: Tensor | None = None, total: Tensor | None = None
    ) -> None:
        norm = torch.linalg.vector_norm(entry, dim=1)
        step = norm if step is None else norm.minimum(step)
        whole = torch.linalg.vector_norm(step)
        self.total = whole if total is None else whole.minimum(total)
        self.step = step.minimum(self.total)
        self.entry = entry.minimum(self.step[:, None])

    def __add__(self, other: "Remainder") -> "Remainder":
        return Remainder(self.entry + other.entry, self.step + other.step, self.total + other.total)

    def scaled(self, norm: Tensor) -> Tensor:
        """Return a bound of the l2 norm once step t is multiplied by a map of norm (L,) or (1,)."""
        return fill(norm**2, self.step**2, self.total**2).sqrt()

    def weighted(self, D: Tensor) -> Tensor:
        """Return a bound of sum D rho^2, D (L, d) or (L, 1)."""
        by_step = fill(D.amax(1), self.step**2, self.total**2)
        if D.shape[1] == 1:
            return by_step
        return fill(D.flatten(), self.entry.flatten() ** 2, self.total**2).minimum(by_step)


def fill(weights: Tensor, caps: Tensor, budget: Tensor) -> Tensor:
    """Return the largest sum of weights q over 0 <= q <= caps, sum q <= budget; all (k,), >= 0.

    weights (1,) stand for k equal ones. The heaviest are filled first.
    """
    if len(weights) == 1:
        return weights[0] * budget.minimum(caps.sum())
    heavy, order = torch.sort(weights, descending=True)
    caps = caps[order]
    before = caps.cumsum(0) - caps
    return (heavy * (budget - before).clamp(min=0.0).minimum(caps)).sum()


class Base:
    """A Jacobian J (L, d, m), its Gram matrices (L, d, d) of each step, and its spectral norm."""

    def __init__(self, J: Tensor) -> None:
        self.J, self.gram = J, J @ J.mT
        self.norm = root(J.flatten(0, 1).T @ J.flatten(0, 1))

    def spread(self, matrix: Tensor) -> Tensor:
        """Return the norms of the rows of matrix (L, k, d) times J, (L, k)."""
        return ((matrix @ self.gram) * matrix).sum(2).clamp(min=0.0).sqrt()

    def form(self, S: Tensor) -> Tensor:
        """Return the sum over steps of J^T S J, (m, m), for S (L, d, d)."""
        return self.J.flatten(0, 1).T @ (S @ self.J).flatten(0, 1)

    def largest(self, S: Tensor) -> Tensor:
        """Return sup of (sum of (J c)^T S (J c))^(1/2) over |c| = 1; infinite S give infinity."""
        return root(self.form(S))


def root(form: Tensor) -> Tensor:
    """Return the square root of the largest eigenvalue; infinity if float64 overflows."""
    if not bool(form.isfinite().all()):
        return torch.tensor(math.inf, dtype=torch.float64)
    return torch.linalg.eigvalsh(0.5 * (form + form.T))[-1].clamp(min=0.0).sqrt()


@dataclass(frozen=True)
class Source:
    """A remainder, and what is known of it jointly: |e| <= (v^T S v)^(1/2) + rest, v = J c.

    At each step, S (L, d, d) on the base of that index. S and rest are None if there is none.
    """

    bound: Remainder
    base: int = -1
    S: Tensor | None = None
    rest: Remainder | None = None


class StepMap:
    """A linear map at each step: matrix (L, d_out, d_in), or (1, ...) for the same at all.

    rows (L, d_out): the norms of its rows; norm (L,): upper bounds of its own.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.magnitude = matrix, matrix.abs()
        self.rows = torch.linalg.vector_norm(matrix, dim=2)
        self.norm = spectral_norms(matrix)

    def __call__(self, bound: Remainder) -> Remainder:
        """Return the bounds of the image."""
        entry = (self.magnitude @ bound.entry[..., None])[..., 0]
        return Remainder(
            entry.minimum(self.rows * bound.step[:, None]),
            self.norm * bound.step,
            bound.scaled(self.norm),
        )


def image(maps: Sequence[StepMap], sources: Sequence[Remainder]) -> Remainder:
    """Return the bounds of the sum of every map's image of its own source."""
    parts = [step_map(source) for step_map, source in zip(maps, sources, strict=True)]
    return sum(parts[1:], parts[0])
