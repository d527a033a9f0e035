"""State-space kernels of state-spaces/s4 as A, B, C, dt themselves, in float64.

Of N modes the file stores n, one of each conjugate pair; feature h has row h mod S of what S
systems share. A DPLR kernel that has been used holds C~ = (I - (Abar^T)^L) C, with Abar of the
parameters in the file and L beside them: C is recovered from it.

References: state-spaces/s4, src/models/sequence/kernels/ssm.py (classes SSMKernelDiag and
SSMKernelDPLR), models/s4/s4d.py; tags v2 and v3.0.0, src/models/sequence/ss/kernel.py.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.state_spaces.versions import Layout
from robustssm.checkpoints.weights import Weights
from robustssm.layers.parameters import real_pair, with_conjugates


def _relu(x: Tensor, offset: float = 1e-4) -> Tensor:
    return functional.relu(x) + offset


# The positive parameter that a number stands for.
_TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "none": torch.Tensor.clone,
    "relu": _relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
}
# Positive real parts up to this share of the largest pole are rounding of the eigenvalues.
_ROUNDING = 1e-12


class Kernel(NamedTuple):
    """A mixer's options and tensors, without D; imag_sign: as asked for, 0 as of its layout."""

    options: dict[str, object]
    tensors: dict[str, Tensor]
    family: str
    imag_sign: float = 0.0


def spread(x: Tensor, d: int, dim: int = 0) -> Tensor:
    """Return the rows of S shared systems for d features: feature h has row h mod S."""
    repeats = [1] * x.ndim
    repeats[dim] = d // x.shape[dim]
    return x.repeat(repeats)


class KernelReader:
    """Reads one layer's kernel, of `kernels` rows for each of d features."""

    def __init__(
        self, layer: Weights, layout: Layout, options: Options, d: int, kernels: int
    ) -> None:
        self._w, self._layout, self._options = layer.scope(layout.prefix), layout, options
        self._d, self._kernels = d, kernels
        self._new = layout.version.startswith("v4")

    def read(self) -> Kernel:
        """Return the kernel; RejectedInputError if it is unstable and may not be."""
        if self._layout.minimal:
            return self._minimal() if self._layout.real else self._markov()
        return self._dplr() if self._layout.low_rank else self._diagonal()

    def _minimal(self) -> Kernel:
        shape = self._d, self._width("log_A_real")
        dt = torch.exp(self._w.take("log_dt", shape[:1]))
        real = -torch.exp(self._w.take("log_A_real", shape))
        # models/s4/s4d.py stores no B, S4-PTD's scripts that do take the other sign.
        sign = self._options.imag_sign("-1" if "B" in self._w else "1")
        A = torch.complex(real, sign * self._w.take("A_imag", shape))
        C = self._w.complex("C", *shape)[None]
        B = self._w.complex("B", *shape) if "B" in self._w else torch.ones_like(A)
        check_stable(self._w, self._options, real)
        tensors = {"dt": dt, "A": A, "B": B, "C": C}
        return Kernel({"kind": "diagonal", "n": shape[1]}, pairs(tensors), "s4d", sign)

    def _markov(self) -> Kernel:
        """Return the kernel of HOPE."""
        rows, n = 2 * self._d, self._width("H")
        dt = torch.exp(self._w.take("log_dt", (rows,)))
        tensors = {"dt": dt, "H": self._w.complex("H", rows, n)}
        return Kernel({"kind": "hope", "n": n}, pairs(tensors), "hope")

    def _diagonal(self) -> Kernel:
        o = self._options
        real = self._layout.imag not in self._w
        A, n = self._eigenvalues(real)
        systems = len(A)
        shapes = [(1, systems, n), (systems, n)] if real else [(1, systems, n, 2), (systems, n, 2)]
        if self._layout.folded:
            states = o.get("d_state")
            problem = f"{self._w.prefix}B is missing, expected it beside {n} modes of {states}"
            self._w.require(states in (None, n), problem)
            B = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(systems, n, 1)
        else:
            B = self._w.take("B", *(shapes if self._new else shapes[::-1])).reshape(shapes[1])
        C = self._w.take("C", (self._kernels, self._d, *shapes[1][1:]))
        B, C = (
            torch.complex(v, torch.zeros_like(v)) if real else torch.view_as_complex(v)
            for v in (B, C)
        )
        ask = not self._layout.folded
        disc = o.one_of("disc", ("zoh", "bilinear", "dss"), self._layout.disc, ask)
        dt = self._steps(n)
        A, B = spread(A, self._d), spread(B, self._d)
        C = C * self._inside_band(A, dt)
        check_stable(self._w, o, A.real, allowed=disc == "dss")
        problem = f"{self._w.prefix}: a pole is 0, expected none under disc=zoh"
        self._w.require(disc != "zoh" or bool((A != 0).all()), problem)
        dt = dt * self._rate()
        tensors = {"dt": dt[:, 0] if dt.shape[1] == 1 else dt, "A": A, "B": B, "C": C}
        if disc == "dss":
            tensors["divisor"] = A
        options: dict[str, object] = {
            "kind": "paired" if self._layout.folded else "diagonal",
            "n": n,
            "discretization": disc,
            "factor": 1 if disc == "dss" else 2,
            "steps": "channel" if dt.shape[1] == 1 else "state",
        }
        return Kernel(options, pairs(tensors), "dss" if disc == "dss" else "s4d")

    def _dplr(self) -> Kernel:
        w, d = self._w, self._d
        Lambda, n = self._eigenvalues(False)
        shape = w.size("P"), len(Lambda), n
        P = w.complex("P", *shape)
        Q = w.complex("Q", *shape) if "Q" in w else P.conj().resolve_conj()
        B = w.complex("B", 1, *shape[1:])[0]
        C = w.complex("C", self._kernels, d, n)
        dt = self._steps(n)
        if dt.shape[1] != 1:
            raise self._options.overrides.unsupported(
                "dt_tie is false in a DPLR kernel, expected one step per feature"
            )
        dt = dt[:, 0]
        check_stable(w, self._options, self._poles(Lambda, P, Q).real)
        Lambda, B = spread(Lambda, d), spread(B, d)
        P, Q = spread(P, d, 1), spread(Q, d, 1)
        inside, rate = bool(self._inside_band(Lambda, dt[:, None]).all()), self._rate()
        self._options.require(inside, "bandlimit", "below a pole", "none for DPLR kernels")
        self._options.require(rate == 1.0, "rate", rate, "1 for DPLR kernels")
        length = self._length()
        if length:
            try:
                C = recovered(C, bilinear(state_matrix(Lambda, P, Q), dt), length)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
                problem = "I - dt A / 2 is singular; the weights are not those of a trained layer"
                raise w.rejected(f"{w.prefix.removesuffix('.')}: {problem}") from None
            w.require(
                bool(torch.isfinite(C).all()),
                f"{w.prefix}C cannot be recovered at kernel length {length}: I - Abar^length is "
                "singular, expected a stable system",
            )
        tensors = {"dt": dt, "Lambda": Lambda, "B": B, "P": P, "Q": Q, "C": C}
        return Kernel({"kind": "dplr", "n": n, "rank": shape[0]}, pairs(tensors), "s4")

    def _width(self, name: str) -> int:
        shape = self._w.shape(name)
        problem = f"{self._w.prefix}{name} has shape {list(shape)}, expected (systems, modes)"
        self._w.require(len(shape) >= 2, problem)
        return shape[1]

    def _eigenvalues(self, real: bool) -> tuple[Tensor, int]:
        """Return the diagonal of A for each shared system, (S, n), and n."""
        layout = self._layout
        n, systems = self._width(layout.real), self._w.size(layout.real)
        self._w.require(
            systems >= 1 and self._d % systems == 0,
            f"{self._w.prefix}{layout.real} has {systems} systems, expected a divisor of "
            f"{self._d} features",
        )
        if layout.real == layout.imag:
            return self._w.complex(layout.real, systems, n), n
        relu = partial(_relu, offset=layout.relu_offset)
        transform = self._options.word(layout.real_option, _TRANSFORMS | {"relu": relu}, "exp")
        negative = transform(self._w.take(layout.real, (systems, n)))
        if real:
            return torch.complex(-negative, torch.zeros_like(negative)), n
        imag = self._w.take(layout.imag, (systems, n))
        if self._new and layout.imag_sign < 0:
            imag = self._options.word("imag_transform", _TRANSFORMS, "none")(imag)
        return torch.complex(-negative, layout.imag_sign * imag), n

    def _steps(self, n: int) -> Tensor:
        """Return dt, (d, 1) or (d, n)."""
        if not self._new:
            return torch.exp(self._w.take("log_dt", (self._d,)))[:, None]
        shape = self._w.shape("inv_dt")
        wide = (self._d, n) if len(shape) == 2 and shape[1] != 1 else (self._d, 1)
        inverse = self._w.take("inv_dt", wide)
        if self._options.flag("dt_fast", False):
            inverse = torch.sinh(inverse)
        ask = self._layout.real_option != "real_type"
        dt = self._options.word("dt_transform", _TRANSFORMS, "exp", ask)(inverse)
        positive = bool((dt > 0).all()) or self._options.overrides.pending
        self._w.require(positive, f"{self._w.prefix}inv_dt: a step is not positive")
        return dt

    def _rate(self) -> float:
        return self._options.overrides.number("rate", 1.0, minimum=1e-6)

    def _inside_band(self, A: Tensor, dt: Tensor) -> Tensor:
        """Return 1 for modes that bandlimit lets through, (d, n)."""
        limit = self._options.number("bandlimit", None)
        cycles = dt * A.imag.abs() / (2.0 * torch.pi)
        return torch.ones_like(cycles) if limit is None else (cycles < 0.5 * limit).double()

    def _length(self) -> int:
        """Return the length that C~ belongs to, 0 if C is stored itself."""
        name = self._layout.length
        if name not in self._w and "L" in self._w:  # between v2 and v3
            name = "L"
        if name != "omega":
            return int(self._w.take(name, ()).item())
        bins = self._w.size("omega")
        omega = self._w.complex("omega", bins)
        # The nodes are exp(-2 pi i k / L). v2 takes 2 (bins - 1) samples of any kernel, which are
        # those of an even L only. Without length_correction its kernel is the periodic sum, whose
        # C is read in the same way.
        angle = 0.0 if bins < 2 else float(torch.angle(omega[1]).abs())
        length = round(2.0 * torch.pi / angle) if angle > 0.0 else 0
        self._w.require(
            bins >= 2 and length == 2 * (bins - 1),
            f"{self._w.prefix}omega has {bins} nodes of length {length}, expected those of an even "
            "length",
        )
        return length

    def _poles(self, Lambda: Tensor, P: Tensor, Q: Tensor) -> Tensor:
        """Return the eigenvalues of each shared system."""
        if torch.equal(Q, P.conj()) and bool((Lambda.real <= 0).all()):
            return Lambda
        return torch.linalg.eigvals(state_matrix(Lambda, P, Q))


def check_stable(w: Weights, options: Options, real: Tensor, allowed: bool = False) -> None:
    """Raise RejectedInputError if a real part of a pole is positive and must not be."""
    largest, given = float(real.max()), options.overrides
    allowed = given.flag("allow_unstable", False) or allowed or given.pending
    w.require(
        allowed or largest <= _ROUNDING * float(real.abs().max()),
        f"layer {w.prefix.removesuffix('.')} is unstable: a pole has real part {largest:.3g}, "
        "expected 0 or less; give --set allow_unstable=true to load it all the same",
    )


def bilinear(A: Tensor, dt: Tensor) -> Tensor:
    """Return Abar of the bilinear rule; A (d, m, m), dt (d,)."""
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    half = 0.5 * dt[:, None, None] * A
    return torch.linalg.solve(identity - half, identity.expand_as(A)) @ (identity + half)


def state_matrix(Lambda: Tensor, P: Tensor, Q: Tensor) -> Tensor:
    """Return diag(Lambda) - sum_r P_r Q_r^T over all 2 n modes, (d, 2 n, 2 n).

    Lambda (d, n), P and Q (rank, d, n): one of each conjugate pair.
    """
    low_rank = torch.einsum("rdm,rdn->dmn", with_conjugates(P), with_conjugates(Q))
    return torch.diag_embed(with_conjugates(Lambda)) - low_rank


def recovered(C: Tensor, Abar: Tensor, length: int) -> Tensor:
    """Return C (c, d, n) of C~ = (I - (Abar^T)^length) C; Abar (d, 2 n, 2 n)."""
    n = C.shape[-1]
    power = torch.linalg.matrix_power(Abar, length).transpose(-1, -2)
    identity = torch.eye(2 * n, dtype=Abar.dtype)
    solved, _ = torch.linalg.solve_ex(identity - power, with_conjugates(C)[..., None])
    return solved[..., :n, 0]


def pairs(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of which complex ones are pairs of real numbers."""
    return {key: real_pair(v) if v.is_complex() else v for key, v in tensors.items()}
