"""Fig. 2 of arXiv 2310.01698: s and A of A cos(s t) learnt on s <= 80, tested to s = 100.

Known of the paper: sinusoids; s and A are learnt; trained on s in [0, 80], tested to 100; S4 and
S4-PTD extrapolate; the amplitude that S4D predicts turns negative, to about -4, beyond s ~ 80.
n = 16 is inferred from its last spike, 80.97 rad per unit time. Chosen here, since no script was
released: the network (`sinusoids`), dt = sampling step in every channel and not trained, so that
the spike of every channel lies at that s; A in [0.5, 2]; all rates, sizes and seeds. The design
`spread` has the default step sizes instead, for which the spikes lie at many s.
"""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from robustssm.evaluations.paper import filter_bank, sinusoids
from robustssm.evaluations.paper.fig2_findings import INSIDE, OUTSIDE, findings
from robustssm.evaluations.paper.reproduction import Context, Reproduction, Settings, Step
from robustssm.evaluations.paper.sinusoids import FIXED, SPREAD
from robustssm.evaluations.table_files import read_parquet, write_parquet
from robustssm.execution import sealed
from robustssm.hippo.spectrum import spikes

# A prediction has broken off if the amplitude is off by more than this share of A.
BROKEN = 0.5
CELL = ["model", "steps", "seed"]


def grid(settings: Settings) -> np.ndarray:
    """Return the test frequencies 0, ..., s_test in steps of s_step, rad per unit time."""
    return np.linspace(0.0, settings["s_test"], round(settings["s_test"] / settings["s_step"]) + 1)


def linear(context: Context) -> pd.DataFrame:
    """Return model, seed, route, s, gain, s_hat, amplitude_hat of untrained filter banks, A = 1."""
    settings = context.settings
    signals, s = sinusoids.signals(settings), grid(settings)
    parts = []
    for model in settings["linear_models"]:
        for seed in settings["seeds"]:
            n, d, step = (settings[key] for key in ("n", "channels", "step"))
            layer = filter_bank.bank(model, n, d, step, seed)
            for route, levels in filter_bank.ROUTES.items():
                read = levels(layer, signals, s), s, settings["s_max"], settings["ridge"]
                parts.append(filter_bank.read(*read).assign(model=model, seed=seed, route=route))
    columns = ["model", "seed", "route", "s", "gain", "s_hat", "amplitude_hat"]
    return pd.concat(parts, ignore_index=True)[columns]


def _path(folder: Path, model: str, steps: str, seed: int) -> Path:
    return folder / f"{model.replace(':', '-')}-{steps}-{seed}.parquet"


def _trained(model: str, steps: str, seed: int, settings: Settings, folder: Path) -> None:
    path = _path(folder, model, steps, seed)
    if path.exists():
        return
    signals, s = sinusoids.signals(settings), grid(settings)
    amplitudes = np.asarray(settings["test_amplitudes"], dtype=np.float64)
    network, loss = sinusoids.fit(model, steps, seed, settings)
    found = sinusoids.predict(
        network, signals, np.tile(s, len(amplitudes)), np.repeat(amplitudes, len(s))
    )
    low, high = sinusoids.last_spike(network, signals)
    found = found.assign(model=model, steps=steps, seed=seed)
    write_parquet(path, found.assign(loss=loss, spike_low=low, spike_high=high))


def predictions(context: Context) -> pd.DataFrame:
    """Return model, steps, seed, s, amplitude, s_hat, amplitude_hat of trained networks.

    And loss (scaled targets, last epoch), spike_low, spike_high (fastest poles, `last_spike`), the
    same in all rows of one network. A network that is there already is not trained again.
    """
    settings = context.settings
    cells = [
        (model, steps, seed)
        for steps in (FIXED, SPREAD)
        for model in settings[f"{steps}_models"]
        for seed in settings["seeds"]
    ]
    with sealed():
        joblib.Parallel(n_jobs=min(context.jobs, len(cells)) or 1)(
            joblib.delayed(_trained)(*cell, dict(settings), context.folder) for cell in cells
        )
    frame = pd.concat(
        [read_parquet(_path(context.folder, *cell)) for cell in cells], ignore_index=True
    )
    first = [*CELL, "s", "amplitude"]
    return frame[[*first, *(name for name in frame.columns if name not in first)]]


def errors(context: Context) -> pd.DataFrame:
    """Return one row per network and band (`inside` s <= s_max, `outside`).

    Columns model, steps, seed, band; rms_s (rad per unit time), rms_ratio (of A^/A - 1), worst (s
    of the largest |A^/A - 1|), broken (first s of the band with |A^/A - 1| > 1/2; inf if none),
    lowest_ratio (of A^/A, at s `lowest_at`), lowest (of A^ itself).
    """
    settings = context.settings
    frame = context.tables["predictions"]
    ratio = frame["amplitude_hat"] / frame["amplitude"]
    band = np.where(frame["s"] <= settings["s_max"] + 1e-9, INSIDE, OUTSIDE)
    frame = frame.assign(
        band=band,
        ratio=ratio,
        off=(ratio - 1.0).abs(),
        square_s=np.square(frame["s_hat"] - frame["s"]),
    )
    rows = []
    for key, part in frame.groupby([*CELL, "band"], sort=False):
        lowest = part["ratio"].idxmin()
        broken = part.loc[part["off"] > BROKEN, "s"]
        rows.append(
            dict(zip([*CELL, "band"], key, strict=True))
            | {
                "rms_s": float(np.sqrt(part["square_s"].mean())),
                "rms_ratio": float(np.sqrt(np.square(part["off"]).mean())),
                "worst": part["s"].loc[part["off"].idxmax()],
                "broken": float(broken.min()) if len(broken) else np.inf,
                "lowest_ratio": part["ratio"].loc[lowest],
                "lowest_at": part["s"].loc[lowest],
                "lowest": part["amplitude_hat"].min(),
            }
        )
    return pd.DataFrame(rows)


def facts(context: Context) -> pd.DataFrame:
    """Return one row: spike (last one of S4D), s_max, s_test, rings (`filter_bank.envelope`)."""
    settings = context.settings
    rings = filter_bank.envelope(0.5, sinusoids.signals(settings))
    spike = float(spikes(settings["n"], 1)[0])
    row = {"spike": spike, "s_max": settings["s_max"], "s_test": settings["s_test"], "rings": rings}
    return pd.DataFrame([row | {key: settings[key] for key in ("n", "step", "length", "samples")}])


_COMMON: dict[str, object] = {
    "n": 16,
    "step": 0.01,
    "length": 400,
    "s_max": 80.0,
    "s_test": 100.0,
    "s_step": 0.1,
    "amplitudes": [0.5, 2.0],
    "test_amplitudes": [0.5, 1.0, 2.0],
    "channels": 32,
    "ridge": 1e-6,
    "linear_models": ["s4", "s4d", "s4ptd", "s4ptd-rank1"],
    "batch_size": 32,
    "lr": 1e-2,
    "ssm_lr": 1e-3,
    "weight_decay": 0.05,
    "d_model": 16,
    "seeds": [0, 1, 2],
}
_TRAINED = (
    *("n", "step", "length", "s_max", "s_test", "s_step", "amplitudes", "test_amplitudes"),
    *("d_model", "samples", "epochs", "batch_size", "lr", "ssm_lr", "weight_decay", "seeds"),
    *("fixed_models", "spread_models"),
)
_BANK = ("n", "step", "length", "s_max", "s_test", "s_step", "amplitudes", "channels", "ridge")

REPRODUCTION = Reproduction(
    name="fig2",
    shows="sinusoids beyond the training range: frequency and amplitude, S4D's spike",
    steps=(
        Step(
            "settings",
            facts,
            uses=("n", "step", "length", "s_max", "s_test", "amplitudes", "samples"),
        ),
        Step("linear", linear, uses=(*_BANK, "linear_models", "seeds")),
        Step("predictions", predictions, uses=_TRAINED),
        Step("errors", errors, uses=("s_max",), needs=("predictions",)),
    ),
    quick=_COMMON
    | {
        "samples": 2048,
        "epochs": 15,
        "fixed_models": ["s4", "s4d", "s4ptd", "s4ptd-rank1"],
        "spread_models": ["s4d", "s4ptd-rank1"],
    },
    full=_COMMON
    | {
        "samples": 8192,
        "epochs": 20,
        "fixed_models": ["s4", "s4d", "s4ptd", "s4ptd-rank1", "s5", "s5ptd-rank1"],
        "spread_models": ["s4", "s4d", "s4ptd-rank1"],
    },
    findings=findings,
)
