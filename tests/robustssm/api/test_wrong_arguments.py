"""Wrong arguments of the Python interface are one line, of a kind that users can catch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import robustssm as rs
from tests.robustssm.api.test_contract import Mean

X = np.random.default_rng(0).standard_normal((6, 64, 1)).astype(np.float32)
Y = np.arange(6)
# What is nowhere an array, a number, a name, a model.
ODD: tuple[Any, ...] = (
    *(
        None,
        "",
        "x",
        b"x",
        3,
        -1,
        0,
        2.5,
        float("nan"),
        True,
        1j,
        object(),
        print,
        {},
        set(),
        [],
        (),
    ),
    *([None], ["a", 1], [[1], [2, 3]], {"a": 1}, np.array("a"), np.zeros(0), np.zeros((2, 0, 1))),
    *(np.full((2, 64, 1), np.nan), np.full((2, 64, 1), np.inf), np.zeros((1, 2, 3, 4))),
    *(np.zeros((2, 3), complex), np.array([object()]), np.array(["2020-01-01"], "M8[D]")),
    *(torch.zeros(0), torch.zeros(2, 2, dtype=torch.cfloat), pd.DataFrame({"a": ["b"]}), nn.Linear),
    *(
        nn.Sequential(),
        10**30,
        -(10**30),
        np.float64(3),
        np.int64(-5),
        "0.3,1",
        range(0),
        Path("no"),
    ),
)

WRONG: Any = 3
WRONG_EPS: Any = "0.3"
EPS: dict[str, Any] = {"eps": 1}


def refused(call: Callable[[], object]) -> str:
    """Return the one line of what a call raises; empty if it is allowed."""
    try:
        call()
    except (rs.UsageError, rs.RejectedInputError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        assert all(lines) and len(str(error)) < 1500, error
        return " ".join(lines)
    return ""


@pytest.mark.parametrize("odd", ODD, ids=lambda value: f"{type(value).__name__} {value!r:.20}")
def test_nothing_odd_reaches_the_inside(odd: Any, checkpoints: dict[str, Path]) -> None:
    """Whatever stands in the place of any one argument, it is allowed, or refused in words."""
    model = rs.load(checkpoints["s4d"])
    layer, A = model.layers[0], -np.eye(2)
    calls: list[Callable[[], object]] = [
        lambda: rs.load(odd),
        lambda: rs.load(checkpoints["s4d"], prenorm=odd),
        lambda: rs.wrap(odd),
        lambda: rs.wrap(Mean(), odd),
        lambda: rs.wrap(Mean(), input_std=odd),
        lambda: model.predict(odd),
        lambda: model.predict(X, odd),
        lambda: model.predict(X, precision=odd),
        lambda: rs.wrap(Mean()).predict(odd),
        lambda: layer.frequency_response(odd),
        lambda: layer.frequency_response(0.1, odd),
        lambda: layer.peak_gain(odd),
        lambda: rs.perturb(odd, "Fourier(3)", 0.3),
        lambda: rs.perturb(X, odd, 0.3),
        lambda: rs.perturb(X, "Fourier(3)", odd),
        lambda: rs.perturb(X, "Fourier(3)", 0.3, unit=odd),
        lambda: rs.perturb(X, "Fourier(3)", 0.3, seed=odd),
        lambda: rs.perturb(X, "Fourier(3)", 0.3, sample_id=odd),
        lambda: rs.perturb(X, "Fourier(3)", 0.3, lengths=odd),
        lambda: rs.perturb(X, "Fourier(3)", 0.3, site=odd),
        lambda: rs.attacks.Fourier(odd),
        lambda: rs.attacks.Fourier(3, phase=odd),
        lambda: rs.attacks.MultiTone(odd),
        lambda: rs.attacks.BandPGD(1, odd),
        lambda: rs.open_run(odd),
        lambda: rs.transfer(8, odd),
        lambda: rs.transfer(8, "s4d", readout=odd),
        lambda: rs.transfer(8, "s4d", omega=odd),
        lambda: rs.converge(odd, (4, 8), inputs="impulse"),
        lambda: rs.converge("s4d", (4, 8), inputs=odd),
        lambda: rs.gain(odd, length=64),
        lambda: rs.gain(model, layers=odd),
        lambda: rs.gain(model, length=odd if not isinstance(odd, int) else -1),
        lambda: rs.gain(model, per=odd),
        lambda: rs.peak_gain(odd, [1, 1], [1, 1]),
        lambda: rs.peak_gain(A, odd, [1, 1]),
        lambda: rs.peak_gain(A, [1, 1], odd),
        lambda: rs.peak_gain(A, [1, 1], [1, 1], odd),
        lambda: rs.peak_gain(A, [1, 1], [1, 1], dt=odd),
        lambda: rs.peak_gain(A, [1, 1], [1, 1], rtol=odd),
        lambda: rs.peak_gain(poles=odd, residues=[1]),
        lambda: rs.peak_gain(poles=[-1], residues=odd),
    ]
    for call in calls:
        refused(call)


@pytest.mark.parametrize("odd", ODD, ids=lambda value: f"{type(value).__name__} {value!r:.20}")
def test_a_sweep_refuses_what_it_cannot_use(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One argument at a time; what is allowed is planned and not computed."""
    nothing = (SimpleNamespace(errors={}), None)
    monkeypatch.setattr("robustssm.api.runs.measure", lambda *args, **options: nothing)
    module = Mean()

    def sweep(**given: Any) -> None:
        options = {"models": {"net": module}, "data": (X, Y), "modes": 1, "eps": 1, **given}
        rs.sweep(options.pop("models"), **options)

    names = (
        *("models", "data", "noise", "modes", "eps", "limit", "seed", "noise_seeds", "jobs"),
        *("device", "batch_size", "mode_unit", "phase", "channels", "omega", "eps_unit", "inject"),
        *("clip", "limits", "wrong"),
    )
    for name in names:
        refused(partial(sweep, **{name: odd}))
    refused(lambda: sweep(data=(odd, Y)))
    refused(lambda: sweep(data=(X, odd)))
    refused(lambda: sweep(data={"inputs": X, "labels": Y, "lengths": odd}))
    refused(lambda: sweep(models={odd if isinstance(odd, str | int) else "a": odd}))
    refused(lambda: sweep(models=[odd]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rs.load("s4f"), "model: 's4f' is unknown, did you mean 's4"),
        (lambda: rs.load("s4d/*"), "names 3 models, expected one"),
        (lambda: rs.wrap(WRONG), "wrap: module is 3, expected Module"),
        (lambda: rs.attacks.Fourier(3, **EPS), "its strength is given apart, by eps"),
        (lambda: rs.perturb(X, "Fourier(3)"), "has no strength; give eps"),
        (lambda: rs.perturb(X, "BandPGD(1, 4)", 1), "BandPGD: needs a model; use sweep"),
        (lambda: rs.perturb(X, "Fourier(40)", 1), "mode 40 is beyond the Nyquist bin 32"),
        (lambda: rs.perturb(Y[:, None], "Fourier(0)", 1), "has tokens, expected a task of values"),
        (lambda: rs.perturb(X * np.nan, "Fourier(3)", 1), "has NaN or infinite entries"),
        (lambda: rs.perturb(X[0, 0], "Fourier(3)", 1), "expected numbers"),
        (lambda: rs.sweep("s4d", mode=3), "option 'mode' is unknown, did you mean"),
        (lambda: rs.sweep("s4d", eps=WRONG_EPS), "eps is '0.3', expected a number or a list"),
        (lambda: rs.sweep("s4d", jobs=0), "jobs is 0, expected at least 1"),
        (lambda: rs.sweep("s4d", data=X), "expected a name, .x, y., or a dict"),
        (lambda: rs.sweep(Mean()), "does not say what it was trained on"),
        (lambda: rs.sweep(Mean(), data=(X, Y[:3])), "labels is int64 .3,., expected integers .6,"),
        (lambda: rs.sweep({"a": Mean(), "a/0": Mean()}, data=(X, Y)), "both 'a' of training seed"),
        (lambda: rs.sweep(nn.Linear(3, 4), data=(X, Y)), "its code raised RuntimeError"),
        (lambda: rs.open_run("/nowhere"), "holds no plan.parquet"),
        (lambda: rs.transfer(8, "s4x"), "s4x"),
        (lambda: rs.peak_gain([[1.0]], 1, 1), "Re = 1, expected < 0"),
        (lambda: rs.peak_gain([[1.0]], 1, 1, dt=1), "modulus 1, expected < 1"),
        (lambda: rs.peak_gain([[-1.0]], 1), "give A, B and C, or poles and residues"),
        (lambda: rs.peak_gain(-np.eye(3), np.ones(2), np.ones(3)), r"B \(2, 1\)"),
        (lambda: rs.peak_gain(poles=[-1 + 1j], residues=[1]), "every pole beside its conjugate"),
        (lambda: rs.peak_gain(1j * np.eye(2), [1, 1], [1, 1]), "is no real system"),
    ],
)
def test_what_is_said(call: Callable[[], object], words: str) -> None:
    with pytest.raises((rs.UsageError, rs.RejectedInputError), match=words):
        call()
