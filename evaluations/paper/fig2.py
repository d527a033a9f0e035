"""Fig. 2 of arXiv 2310.01698: s and A of A cos(s t) learnt on s <= 80, tested to s = 100.

Known of the paper: sinusoids; s and A are learnt; trained on s in [0, 80], tested to 100; S4 and
S4-PTD extrapolate; the amplitude that S4D predicts turns negative, to about -4, beyond s ~ 80.
n = 16 is inferred from its last spike, 80.97 rad per unit time. Chosen here, since no script was
released: the network (`sinusoids`), dt = sampling step in every channel and not trained, so that
the spike of every channel lies at that s; A in [0.5, 2]; all rates, sizes and seeds.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from robustssm.evaluations.paper import reproduction, sinusoids
from robustssm.evaluations.paper.reproduction import Claim, agrees, finding, interval_agrees
from robustssm.evaluations.paper.trainings import in_processes
from robustssm.evaluations.statistics.intervals import student
from robustssm.evaluations.table_files import read_parquet, write_parquet
from robustssm.hippo.spectrum import spikes

DIAG = "s4d"
# Models that extrapolate, says the paper.
CLAIMED = ("s4", "s4ptd")
INSIDE, OUTSIDE = "inside", "outside"
# A prediction has broken off if the amplitude is off by more than this share of A.
BROKEN = 0.5
# The paper's "beyond s ~ 80": the break agrees up to here, rad per unit time.
LATEST = 85.0
# Above this RMS of A^/A - 1 inside the training range a network has learnt nothing to break off.
LEARNT = 0.25
# Columns of `errors`, and what each is the RMS of.
ERRORS = {"rms_ratio": "A^/A - 1", "rms_s": "s^ - s"}


def grid(settings: reproduction.Settings) -> np.ndarray:
    """Return the test frequencies 0, ..., s_test in steps of s_step, rad per unit time."""
    return np.linspace(0.0, settings["s_test"], round(settings["s_test"] / settings["s_step"]) + 1)


def _path(folder: Path, model: str, seed: int) -> Path:
    return folder / f"{model.replace(':', '-')}-{seed}.parquet"


def _trained(model: str, seed: int, settings: reproduction.Settings, folder: Path) -> None:
    path = _path(folder, model, seed)
    if path.exists():
        return
    signals, s = sinusoids.signals(settings), grid(settings)
    amplitudes = np.asarray(settings["test_amplitudes"], dtype=np.float64)
    network, loss = sinusoids.fit(model, seed, settings)
    found = sinusoids.predict(
        network, signals, np.tile(s, len(amplitudes)), np.repeat(amplitudes, len(s))
    )
    low, high = sinusoids.last_spike(network, signals)
    found = found.assign(model=model, seed=seed)
    write_parquet(path, found.assign(loss=loss, spike_low=low, spike_high=high))


def predictions(context: reproduction.Context) -> pd.DataFrame:
    """Return model, seed, s, amplitude, s_hat, amplitude_hat of trained networks.

    And loss (scaled targets, last epoch), spike_low, spike_high (fastest poles, `last_spike`), the
    same in all rows of one network. A network that is there already is not trained again.
    """
    settings, folder = context.settings, context.folder
    cells = [(model, seed) for model in settings["models"] for seed in settings["seeds"]]
    in_processes(_trained, [(*cell, dict(settings), folder) for cell in cells], context.jobs)
    frame = pd.concat([read_parquet(_path(folder, *cell)) for cell in cells], ignore_index=True)
    first = ["model", "seed", "s", "amplitude"]
    return frame[[*first, *(name for name in frame.columns if name not in first)]]


def errors(context: reproduction.Context) -> pd.DataFrame:
    """Return one row per network and band (`inside` s <= s_max, `outside`).

    Columns model, seed, band; rms_s (rad per unit time), rms_ratio (of A^/A - 1), worst (s of the
    largest |A^/A - 1|), broken (first s of the band with |A^/A - 1| > 1/2; inf if none),
    lowest_ratio (of A^/A, at s `lowest_at`), lowest (of A^ itself).
    """
    frame = context.tables["predictions"]
    ratio = frame["amplitude_hat"] / frame["amplitude"]
    frame = frame.assign(
        band=np.where(frame["s"] <= context.settings["s_max"] + 1e-9, INSIDE, OUTSIDE),
        ratio=ratio,
        off=(ratio - 1.0).abs(),
        square_s=np.square(frame["s_hat"] - frame["s"]),
    )
    rows = []
    for (model, seed, band), part in frame.groupby(["model", "seed", "band"], sort=False):
        lowest = part["ratio"].idxmin()
        broken = part.loc[part["off"] > BROKEN, "s"]
        rows.append(
            {
                "model": model,
                "seed": seed,
                "band": band,
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


def facts(context: reproduction.Context) -> pd.DataFrame:
    """Return one row: spike (last one of S4D), and the settings s_max, s_test, n, samples."""
    settings = context.settings
    row = {"spike": float(spikes(settings["n"], 1)[0])}
    return pd.DataFrame([row | {key: settings[key] for key in ("s_max", "s_test", "n", "samples")}])


def _mean(values: Iterable[float]) -> str:
    array = np.asarray(list(values), dtype=np.float64)
    low, high = student(array)
    interval = f" [{low:.3g}, {high:.3g}]" if np.isfinite(low) else ""
    return f"{array.mean():.3g}{interval}, {len(array)} seeds"


def _each(values: Iterable[float]) -> str:
    return ", ".join("none" if np.isinf(value) else f"{value:.3g}" for value in values)


def _of_breaks(both: pd.DataFrame, spike: float, highest: float) -> reproduction.Findings:
    """Yield how S4D's amplitudes break off; open if one is not learnt in the training range."""
    rows = both[both["band"] == OUTSIDE]
    low = rows["lowest_ratio"]
    learnt = (both.loc[both["band"] == INSIDE, "rms_ratio"] < LEARNT).all()

    def claim(paper: str, holds: "pd.Series[bool]") -> Claim:
        return paper, agrees(*holds) if learnt else reproduction.OPEN

    yield finding(
        "S4D: lowest predicted amplitude / A beyond the training range",
        f"{_mean(low)}, {(low < 0.0).sum()} below 0, at s = {_each(rows['lowest_at'])}",
        claim("negative [r]", low < 0.0),
    )
    yield finding(
        "S4D: lowest predicted amplitude",
        f"{_each(rows['lowest'])} (A in the test up to {highest:g})",
        without="about -4; its A not known [r]",
    )
    yield finding(
        "S4D: first s > 80 with the amplitude off by more than half",
        f"{_each(rows['broken'])}; last spike {spike:.2f}",
        claim("beyond s ~ 80 [r]", rows["broken"] <= LATEST),
    )
    yield finding(
        "S4D: s of the largest amplitude error", f"{_each(rows['worst'])}; last spike {spike:.2f}"
    )


def _extrapolates(column: str, rows: pd.DataFrame, constant: float) -> Claim:
    """Return the paper's claim for S4 and its PTD forms, and the verdict of one network's rows.

    An amplitude has to stay within half of A; a frequency has to be nearer than the constant
    prediction s_max, whose RMS error is `constant`.
    """
    if column == "rms_ratio":
        return "extrapolates: never off by half of A [r]", agrees(*np.isinf(rows["broken"]))
    paper = f"extrapolates: below {constant:.3g}, the error of always saying 80 [r]"
    return paper, interval_agrees(*student(rows[column]), below=constant)


def _of_models(frame: pd.DataFrame, constant: float) -> reproduction.Findings:
    """Yield every model's errors, and what S4D's are above theirs, paired by seed."""
    for model, rows in frame.groupby("model", sort=False):
        bands = {band: part.set_index("seed") for band, part in rows.groupby("band")}
        learnt = (bands[INSIDE]["rms_ratio"] < LEARNT).all()
        for column, what in ERRORS.items():
            claim = None
            if model in CLAIMED:
                paper, verdict = _extrapolates(column, bands[OUTSIDE], constant)
                claim = paper, verdict if learnt else reproduction.OPEN
            yield finding(
                f"{model}: RMS of {what}, s above 80 and up to 80",
                f"{_mean(bands[OUTSIDE][column])} and {_mean(bands[INSIDE][column])}",
                claim,
            )
    outside = frame[frame["band"] == OUTSIDE]
    table = outside.pivot_table(index="seed", columns="model", values=list(ERRORS))
    for model in outside["model"].unique():
        for column, what in ERRORS.items():
            if model == DIAG or DIAG not in table[column]:
                continue
            paired = (table[column][DIAG] - table[column][model]).to_numpy(np.float64)
            claim = "above 0: only S4D breaks [r]", interval_agrees(*student(paired), 0.0)
            yield finding(
                f"{DIAG} - {model}: RMS of {what}, s above 80",
                f"{_mean(paired)}, paired",
                claim if column == "rms_ratio" else None,
                "no claim",
            )


def findings(tables: reproduction.Tables) -> reproduction.Findings:
    """Yield the breaks of S4D, and all errors with their intervals."""
    frame, made, known = tables["errors"], tables["predictions"], tables["settings"].iloc[0]
    spike, mine = float(known["spike"]), made[made["model"] == DIAG]
    if len(mine):
        own = frame[frame["model"] == DIAG]
        yield from _of_breaks(own, spike, float(made["amplitude"].max()))
        yield finding(
            "S4D: fastest poles of the trained channels",
            f"{mine['spike_low'].min():.2f} to {mine['spike_high'].max():.2f}; "
            f"untrained {spike:.2f}",
        )
    # The RMS of s - s_max over s_max to s_test.
    yield from _of_models(frame, float(known["s_test"] - known["s_max"]) / 3.0**0.5)


_COMMON: dict[str, object] = {
    "models": ["s4", "s4d", "s4ptd", "s4ptd-rank1"],
    "n": 16,
    "step": 0.01,
    "length": 400,
    "s_max": 80.0,
    "s_test": 100.0,
    "s_step": 0.1,
    "amplitudes": [0.5, 2.0],
    "test_amplitudes": [0.5, 1.0, 2.0],
    "batch_size": 32,
    "lr": 1e-2,
    "ssm_lr": 1e-3,
    "weight_decay": 0.05,
    "d_model": 16,
    "seeds": [0, 1, 2],
}

REPRODUCTION = reproduction.Reproduction(
    name="fig2",
    shows="sinusoids beyond the training range: frequency and amplitude, S4D's spike",
    steps=(
        reproduction.Step("settings", facts, uses=("n", "s_max", "s_test", "samples")),
        reproduction.Step("predictions", predictions, version=2),
        reproduction.Step("errors", errors, uses=("s_max",), needs=("predictions",)),
    ),
    quick=_COMMON | {"samples": 2048, "epochs": 15},
    full=_COMMON | {"samples": 8192, "epochs": 20},
    findings=findings,
)
