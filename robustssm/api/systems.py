"""Transfer functions: of initialisations, of trained layers, of a user's own systems."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustssm.api.models import array_of, refs_of, task_length
from robustssm.api.results import Result
from robustssm.arguments import checked, several
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations import convergence
from robustssm.evaluations.initializations import transfer as transfers
from robustssm.evaluations.initializations.inputs import DEFAULT
from robustssm.evaluations.suprema.certified import Bracket, PoleSums, StateSpaces, brackets
from robustssm.evaluations.trained_layers.change_errors import change_errors
from robustssm.evaluations.trained_layers.gain import GainResult, model_gain
from robustssm.hippo.initializations import NAMES
from robustssm.tasks import load_task, recorded_task
from robustssm.typing import Array

# Relative defect of conj F(s) = F(conj s) that rounding of residues may leave.
_REAL = 1e-9


Texts = str | Sequence[str]


@checked
def transfer(
    n: int = 64,
    inits: Texts = NAMES,
    *,
    readout: str = "e0",
    omega: float | Sequence[float] = (),
) -> Result:
    """Compare the transfer functions of initialisations with HiPPO's, as `robustssm transfer`.

    Parameters
    ----------
    n : int
        State size.
    inits : str or list of str
        Initialisations, with parameters where they have some: `s4ptd-rank1:tau=0.05`.
    readout : str
        C in HiPPO's coordinates: `e0`, `ones`, `random:SEED`, numbers with commas, or a .npy file.
    omega : float or sequence
        Frequencies of `values`, rad per unit of the system's own time.
    """
    from robustssm.figures import transfer as figures

    points = several(omega)
    found = transfers.transfer(n, readout, points, _parts(inits))
    at = np.array(points, np.float64)
    return Result(
        f"n = {n}, readout {readout}; omega in rad per unit time",
        found.table(),
        found,
        lambda: figures.draw_all(found, Path()),
        pd.DataFrame(
            {found.label(k): m.response.transfer(at) for k, m in found.systems.items()},
            pd.Index(at, name="omega"),
        ),
    )


@checked
def converge(
    inits: Texts = ("s4d", "s4ptd-rank1", "s4ptd"),
    n: str | int | Sequence[int] = "4-4096",
    *,
    readout: str = "e0",
    inputs: Texts = DEFAULT,
) -> Result:
    """Measure how fast initialisations approach HiPPO, as `robustssm theory converge`.

    `frame` has one row per initialisation, quantity and size, `details.fits` the rates.

    Parameters
    ----------
    inits, readout
        As of `transfer`.
    n : str or sequence of int
        State sizes: `4-4096` takes the powers of two between.
    inputs : str or list of str
        Inputs of weak convergence: impulse, exp, box, decay:Q, mode:W, spike.
    """
    from robustssm.figures import convergence as figures

    sizes = convergence.parse_sizes(",".join(map(str, several(n))))
    found = convergence.converge(_parts(inits), sizes, _parts(inputs), readout)
    about = f"Convergence to HiPPO, readout {readout}"
    return Result(about, found.errors, found, lambda: figures.draw_all(found, Path()))


@checked
def gain(
    models: Any,
    *,
    layers: int | Sequence[int] = (),
    length: int | None = None,
    rtol: float = 1e-3,
    per: str = "layer",
    noise: str = "",
) -> Result:
    """Measure what the layers of trained models amplify, and where, as `robustssm gain`.

    Parameters
    ----------
    models : str, path, Model, list or dict
        As of `sweep`.
    layers : int or sequence of int
        Layers, from 0; all by default.
    length : int, optional
        Samples of the finite-length gain; those of the model's task by default.
    rtol : float
        Relative width of the certified brackets.
    per : str
        What a row of `frame` is of: `channel`, `layer` or `model`.
    noise : str
        A change of the model, as in `WeightQuantise(8)`: columns error_low and error_high bracket
        the largest |G - G'| that it makes.
    """
    from robustssm.figures import gain as figures

    found = gains(refs_of(models), length=length, layers=several(layers), rtol=rtol, noise=noise)
    about = f"gain of {', '.join(model.label for model in found.models)}"
    return Result(about, found.table(per), found, lambda: figures.draw_all(found, Path()))


@checked
def influence(models: Any, *, data: str | None = None, limit: int | None = 64) -> Result:
    """Measure where in time inputs count: |d answers / d x_t| of test samples, over its mean.

    `frame` has one row per model and step: median and quartiles over samples.

    Parameters
    ----------
    models : str, path, Model, list or dict
        As of `sweep`.
    data : str, optional
        Name of a task; the first model's own by default.
    limit : int, optional
        Number of samples, the first ones; None for all.
    """
    from robustssm.evaluations.searches.influence import profiles
    from robustssm.figures import influence as figures

    refs = refs_of(models)
    task = load_task(data) if data else recorded_task(refs[0].load().card.task, str(refs[0]))
    frame = profiles(refs, task, limit)
    about = f"influence of {', '.join(map(str, refs))} on {task.spec}"
    draw = partial(figures.draw_profiles, frame, task.spec, Path("influence"))
    return Result(about, frame, frame, draw)


def gains(
    refs: Sequence[ModelRef],
    *,
    length: int | None,
    layers: tuple[int, ...] = (),
    rtol: float = 1e-3,
    noise: str = "",
    advance: Callable[[], None] = lambda: None,
) -> GainResult:
    """Return the gains of models; noise: a change of each; advance: called after each of them."""
    models = []
    for ref in refs:
        checkpoint, label = ref.load(), str(ref)
        steps = length or task_length(checkpoint, label, "gain")
        given: dict[str, Any] = {"length": steps, "layers": layers, "rtol": rtol}
        found = model_gain(label, checkpoint, name=ref.label, **given)
        if noise:
            errors = change_errors(checkpoint.network, noise, **given)
            found = replace(found, channels=found.channels.merge(errors, on=["layer", "channel"]))
        models.append(found)
        advance()
    return GainResult(tuple(models))


@checked
def peak_gain(
    A: Any = None,
    B: Any = None,
    C: Any = None,
    D: Any = None,
    dt: float | None = None,
    *,
    poles: Any = None,
    residues: Any = None,
    rtol: float = 1e-3,
) -> Bracket:
    """Return low <= sup |H| <= high of a stable real system, certified: its H-infinity norm.

    Rounding is included: the float64 numbers given are the system. A discrete one is taken to
    continuous time first, by s = (z - 1) / (z + 1), whose own rounding is not enclosed. `omega`,
    where low is attained, is in rad per unit time. An unstable system is a RejectedInputError.

    Parameters
    ----------
    A, B, C : array
        State space (n, n), (n, q), (p, n); a vector stands for one input or one output.
    D : array, optional
        Feedthrough, (p, q), or a number for one input and output.
    dt : float, optional
        Step of a discrete system x[k+1] = A x[k] + B u[k]; by default time is continuous.
    poles, residues : array
        Instead of A, B and C: H = D + sum_k residues_k / (s - poles_k), or of z; (m,), every pole
        beside its conjugate.
    rtol : float
        Relative width of the bracket; rounding may leave it wider.
    """
    if dt is not None and not 0.0 < dt < np.inf:
        raise UsageError(f"peak gain: dt is {dt:g}, expected a step above 0, or None")
    given = {"A": A, "B": B, "C": C, "D": D, "poles": poles, "residues": residues}
    arrays = {
        name: array_of(f"peak gain: {name}", value, "fiuc").astype(np.complex128)
        for name, value in given.items()
        if value is not None
    }
    if not all(X.size and np.isfinite(X).all() for X in arrays.values()):
        raise UsageError("peak gain: a matrix is empty, or has NaN or infinite entries")
    direct = arrays.pop("D", np.zeros(1))
    if arrays.keys() not in ({"A", "B", "C"}, {"poles", "residues"}):
        raise UsageError("peak gain: give A, B and C, or poles and residues")
    if "poles" in arrays:
        bracket = _of_poles(arrays["poles"], arrays["residues"], direct, dt, rtol)
    else:
        bracket = _of_matrices(arrays, direct, dt, rtol)
    if dt is None:
        return bracket
    return Bracket(bracket.low, bracket.high, float(2.0 * np.arctan(bracket.omega) / dt))


def _of_poles(p: Array, r: Array, D: Array, dt: float | None, rtol: float) -> Bracket:
    if p.ndim != 1 or p.shape != r.shape or D.size != 1:
        raise UsageError(
            f"peak gain: poles {p.shape}, residues {r.shape}, D {D.shape}; expected as many "
            "residues as poles, and one number D"
        )
    # A system is real if its values at conjugate points are conjugates.
    s = 2.0 * np.abs(p).max() * (1.0 + 1j * np.linspace(0.1, 1.0, 5))[:, None] + 1.0
    terms, mirrored = r / (s - p), r.conj() / (s - p.conj())
    defect = np.abs((terms - mirrored).sum(1))
    if D.imag.any() or (defect > _REAL * np.abs(terms).sum(1)).any():
        raise UsageError("peak gain: is no real system, expected every pole beside its conjugate")
    if dt is not None:
        _check_inside(p)
        one = 1.0 + p
        p, r, D = (p - 1.0) / one, 2.0 * r / one**2, D - (r / one).sum()
    sums = PoleSums(p[None], r[None, None], np.ones((1, len(p), 1)), D.real.reshape(1, 1, 1))
    return brackets(sums, rtol)[0]


def _of_matrices(arrays: Mapping[str, Array], D: Array, dt: float | None, rtol: float) -> Bracket:
    if any(X.imag.any() for X in (*arrays.values(), D)):
        raise UsageError("peak gain: is no real system; give poles and residues of a complex one")
    A, B, C, D = (np.atleast_1d(X.real) for X in (*arrays.values(), D))
    A, B, C = np.atleast_2d(A), B[:, None] if B.ndim == 1 else B, np.atleast_2d(C)
    m, p, q = len(A), len(C), B.shape[1]
    D = np.full((p, q), D.item()) if D.size == 1 and (p == q == 1 or not D.any()) else D
    if (A.shape, B.shape, C.shape, D.shape) != ((m, m), (m, q), (p, m), (p, q)):
        raise UsageError(
            f"peak gain: A {A.shape}, B {B.shape}, C {C.shape}, D {D.shape}; expected (n, n), "
            "(n, q), (p, n), (p, q)"
        )
    if dt is not None:
        _check_inside(np.linalg.eigvals(A))
        inverse, eye = np.linalg.inv(A + np.eye(m)), np.eye(m)
        D = D - C @ inverse @ B
        A, B, C = inverse @ (A - eye), 2.0 * inverse @ B, C @ inverse
    return brackets(StateSpaces(A[None], B[None], C[None], D[None]), rtol)[0]


def _check_inside(poles: Array) -> None:
    largest = float(np.abs(poles).max())
    if largest >= 1.0:
        raise StabilityError(
            f"peak gain: a pole has modulus {largest:.6g}, expected < 1; the gain of an unstable "
            "system has no bound"
        )


def _parts(texts: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(texts.split(",")) if isinstance(texts, str) else tuple(texts)
