"""What trained SSM layers amplify, and where: `robustssm gain`.

Per channel the certified peak gain and its frequency, what the task's length lets it reach, how
sharp and how many its modes are, and how all that lies to the spike of HiPPO's normal part (S4D),
omega = y_1 of `spectrum.spikes`. Frequencies: theta in rad per sample; omega in rad per unit of
the layer's own time, theta / dt for zero-order hold and (2 / dt) tan(theta / 2) for bilinear.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.checkpoints import Checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers.linear_systems import Dense, LayerSystem, Mimo, fold
from robustssm.evaluations.trained_layers.operators import finite_gain, hankel_singular_values
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.spectrum import spikes
from robustssm.typing import FloatArray

PER = ("channel", "layer", "model")
# Frequencies of the median gain: midpoints of so many intervals of [0, pi].
MEDIAN_POINTS = 1024
# "At the spike": within 10 %; "unmoved": within 5 %, or within the spike's half-width of 1/2.
NEAR, UNMOVED, HALF_WIDTH = 0.1, 0.05, 0.5
# A Hankel singular value above this share of the largest counts for the epsilon-rank.
RANK_TOLERANCE = 1e-3
# Beyond this float64 does not know a condition number.
MAX_CONDITION = 1e12


@dataclass(frozen=True)
class ModelGain:
    """One checkpoint: layer index -> linear system, its table of channels, and what to know.

    name groups training seeds; spike: rad per unit time; kappa: of the initialisation's V, from
    the card (None if it has none); length L of the finite-length gain.
    """

    label: str
    name: str
    content_hash: str
    n: int
    spike: float
    kappa: float | None
    length: int
    systems: dict[int, LayerSystem]
    channels: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GainResult:
    """The gains of several checkpoints."""

    models: tuple[ModelGain, ...]

    @property
    def channels(self) -> pd.DataFrame:
        """One row per channel (S5: layer) and direction: causal; both, forward and backward."""
        return pd.concat([model.channels for model in self.models], ignore_index=True)

    @property
    def whole(self) -> pd.DataFrame:
        """The rows of `channels` of whole layers, whatever their directions."""
        return self.channels[self.channels["direction"].isin(("causal", "both"))]

    def table(self, per: str) -> pd.DataFrame:
        """Return rows per `channel`, `layer` or `model`."""
        if per not in PER:
            raise UsageError(f"gain: rows are per {per!r}, expected one of {', '.join(PER)}")
        frame = self.channels
        if per == "channel":
            return frame
        keys = ["model", "layer"] if per == "layer" else ["model"]
        keys += ["direction"] if (frame["direction"] != "causal").any() else []
        groups = frame.groupby(keys, sort=False)
        return pd.DataFrame([dict(zip(keys, key, strict=True)) | summarise(g) for key, g in groups])

    def verdicts(self) -> list[str]:
        """Return one line per model name over its seeds: where the peaks are, against the spike."""
        lines = []
        for name, part in self.whole.groupby("name", sort=False):
            pooled = summarise(part)
            shares = [summarise(g)["near_spike"] for _, g in part.groupby("model", sort=False)]
            resolved = pooled["near_spike_resolved"]
            where = "" if np.isnan(resolved) else f", {resolved:.0%} where dt omega_spike < pi"
            lines.append(
                f"{name}, checkpoints: {len(shares)}, systems: {pooled['systems']}: the certified "
                f"peak is within {NEAR:.0%} of the spike in {pooled['near_spike']:.0%} "
                f"({min(shares):.0%} to {max(shares):.0%} by checkpoint){where}; the spike's pole "
                f"is nearest to it in {pooled['peak_of_spike_pole']:.0%}; omega_peak/omega_spike "
                f"median {pooled['ratio_median']:.3g}, quartiles {pooled['ratio_q25']:.3g} and "
                f"{pooled['ratio_q75']:.3g}"
            )
        return lines

    def to_json(self, per: str) -> dict[str, object]:
        """Return plain dicts, lists and numbers; floats that are not finite stay floats."""
        models = [
            {
                "model": m.label,
                "content_hash": m.content_hash,
                "n": m.n,
                "omega_spike": m.spike,
                "kappa_init": m.kappa,
                "length": m.length,
                "notes": list(m.notes),
            }
            for m in self.models
        ]
        rows = self.table(per).to_dict("records")
        return {"schema": 1, "per": per, "models": models, "rows": rows}


def _ratio(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return a / b, NaN if b is zero (a channel that passes nothing)."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0.0)


def summarise(part: pd.DataFrame) -> dict[str, float]:
    """Return maxima, medians and shares of a table of channels; NaN if no channel has them."""
    resolved = ~part["spike_aliased"]
    ratio = part["omega_over_spike"].to_numpy()
    # An observed value, since a bilinear peak at theta = pi has infinite omega.
    quartiles = np.quantile(ratio, (0.25, 0.5, 0.75), method="inverted_cdf")
    near = np.abs(ratio - 1.0) < NEAR
    moved = np.abs(part["spike_pole"] - part["spike"])
    top = part["gain_low"].idxmax()
    resonance = part["resonance_over_peak"]
    return {
        "systems": len(part),
        "dt_median": float(part["dt"].median()),
        "gain_low": float(part.loc[top, "gain_low"]),
        "gain_high": float(part["gain_high"].max()),
        "omega": float(part.loc[top, "omega"]),
        "gain_median": float(part["gain_low"].median()),
        "ratio_q25": float(quartiles[0]),
        "ratio_median": float(quartiles[1]),
        "ratio_q75": float(quartiles[2]),
        "near_spike": float(near.mean()),
        "resolved": float(resolved.mean()),
        "near_spike_resolved": float(near[resolved].mean()) if resolved.any() else np.nan,
        "peak_of_spike_pole": float((part["pole"] / part["spike"] - 1.0).abs().lt(NEAR).mean()),
        "pole_within_5_percent": float((moved < UNMOVED * part["spike"]).mean()),
        "pole_within_half_width": float((moved < HALF_WIDTH).mean()),
        "peak_over_median": float(part["peak_over_median"].median()),
        "resonance_over_peak": float(resonance.median()),
        "resonance_over_peak_resolved": float(resonance[resolved].median()),
        "finite_over_peak": float(part["finite_over_peak"].median()),
        "finite_gain": float(part["finite_gain"].max()),
        "finite_converged": float(part["finite_converged"].mean()),
        "q_max": float(part["q_max"].max()),
        "hankel": float(part["hankel"].max()),
        "hankel_rank": float(part["hankel_rank"].median()),
        "kappa": float(part["kappa"].max()) if part["kappa"].notna().all() else np.nan,
        **{key: float(part[key].max()) for key in ("error_low", "error_high") if key in part},
    }


def channel_gains(
    system: LayerSystem, n: int, L: int, rtol: float = 1e-3, kappa: float = np.nan
) -> pd.DataFrame:
    """Return one row per channel (S5: one row) of a layer's system.

    dt; gain_low <= peak gain <= gain_high; theta and omega where gain_low is attained;
    omega_over_spike. Of the pole nearest to the peak on the circle: pole = |Im lambda|,
    pole_theta in [0, pi] and pole_omega as samples show it, pole_aliased, q_pole =
    |Im| / (2 |Re|). q_max over poles; dc_gain; median_gain over theta uniform in [0, pi].
    spike_theta = omega_spike dt folded, where the resonance perturbation acts, spike_aliased,
    resonance_gain there. spike_pole: the |Im lambda| nearest to omega_spike, spike_pole_aliased.
    finite_gain for L samples, finite_converged. hankel: largest Hankel singular value,
    hankel_rank: how many exceed 1e-3 of it. kappa: of the eigenvectors of a trained S4 matrix, NaN
    above 1e12; for layers that store eigenvalues alone as given, the initialisation's. Ratios
    take the end of the bracket that makes them bounds from below; NaN if a gain is zero.
    """
    spike = float(spikes(n, 1)[0])
    brackets = system.peaks(rtol)
    low, high = (np.array([getattr(b, key) for b in brackets]) for key in ("low", "high"))
    theta: FloatArray = 2.0 * np.arctan([b.omega for b in brackets])
    omega = system.omega(theta, system.dt)
    frequency, rows = np.abs(system.poles.imag), np.arange(len(theta))
    at_peak = np.argmin(np.abs(np.exp(1j * theta)[:, None] - system.discrete), axis=1)
    at_spike = np.argmin(np.abs(frequency - spike), axis=1)
    q = frequency / (2.0 * np.abs(system.poles.real))
    pole_theta = system.pole_theta[rows, at_peak]
    resonance_theta = fold(spike * system.dt)
    middle = (np.arange(MEDIAN_POINTS, dtype=np.float64) + 0.5) * (np.pi / MEDIAN_POINTS)
    median = np.median(system.gain(middle), axis=1)
    resonance = system.gain(resonance_theta[:, None])[:, 0]
    finite, converged = finite_gain(system, L, theta)
    hankel = hankel_singular_values(system)
    known = np.full(len(theta), kappa)
    if system.condition is not None:
        known = np.where(system.condition > MAX_CONDITION, np.nan, system.condition)
    return pd.DataFrame(
        {
            "channel": rows,
            "dt": system.dt,
            "gain_low": low,
            "gain_high": high,
            "theta": theta,
            "omega": omega,
            "spike": spike,
            "omega_over_spike": omega / spike,
            "pole": frequency[rows, at_peak],
            "pole_theta": pole_theta,
            "pole_omega": system.omega(pole_theta, system.step[rows, at_peak]),
            "pole_aliased": system.aliased[rows, at_peak],
            "q_pole": q[rows, at_peak],
            "q_max": q.max(axis=1),
            "dc_gain": system.gain(np.zeros(1))[:, 0],
            "median_gain": median,
            "peak_over_median": _ratio(low, median),
            "spike_theta": resonance_theta,
            "spike_aliased": spike * system.dt > np.pi,
            "resonance_gain": resonance,
            "resonance_over_peak": _ratio(resonance, high),
            "spike_pole": frequency[rows, at_spike],
            "spike_pole_aliased": system.aliased[rows, at_spike],
            "finite_gain": finite,
            "finite_over_peak": _ratio(finite, high),
            "finite_converged": converged,
            "hankel": hankel[:, 0],
            "hankel_rank": np.sum(hankel > RANK_TOLERANCE * hankel[:, :1], axis=1),
            "kappa": known,
        }
    )


def model_gain(
    label: str,
    checkpoint: Checkpoint,
    *,
    length: int,
    layers: tuple[int, ...] = (),
    rtol: float = 1e-3,
    name: str | None = None,
) -> ModelGain:
    """Return the gains of a checkpoint's SSM layers (all, or those of the zero-based `layers`).

    length: samples L of the finite-length gain; name: what seeds are grouped by, the label where
    None. Raises UsageError for a layer that does not exist, RejectedInputError for NaN weights.
    """
    stored = checkpoint.network.ssm_layers()
    for index in layers:
        if not 0 <= index < len(stored):
            raise UsageError(f"gain: {label} has no layer {index}, expected 0 to {len(stored) - 1}")
    n = checkpoint.network.state_size
    if not stored:
        raise UsageError(
            f"gain: {label} has no layer with a transfer function: selective layers (Mamba) have "
            "none, and layers of your own need a method state_space()"
        )
    systems = {k: layer_system(stored[k], length) for k in layers or range(len(stored))}
    if n is None:
        orders = ", ".join(str(layer.order) for layer in stored)
        raise UsageError(f"gain: {label} has layers of order {orders}, expected one order of all")
    spike = float(spikes(n, 1)[0])
    kappa = checkpoint.card.init_diagnostics.get("kappa")
    frames, of_seeds = [], name or label
    every = [(k, *one) for k, system in systems.items() for one in system.directions.items()]
    for index, direction, system in every:
        gains = channel_gains(system, n, length, rtol, np.nan if kappa is None else kappa)
        about = {"model": label, "name": of_seeds, "layer": index, "direction": direction}
        frames.append(pd.DataFrame(about, gains.index).join(gains))
    table = pd.concat(frames, ignore_index=True)
    notes = _notes([system for _, _, system in every], table, length, rtol)
    facts = checkpoint.content_hash, n, spike, kappa, length
    return ModelGain(label, of_seeds, *facts, systems, table, notes)


def _notes(
    systems: list[LayerSystem], table: pd.DataFrame, length: int, rtol: float
) -> tuple[str, ...]:
    """Return what a reader of the numbers has to know."""
    notes = []
    # `high` is at most 1 + rtol times `low`, and both are rounded.
    wide = int((table["gain_high"] > (1.0 + 1.001 * rtol) * table["gain_low"]).sum())
    if wide:
        notes.append(
            f"{wide} of {len(table)} peak gains lie in brackets wider than {rtol:g}: rounding, or "
            "the most intervals that a system may take, does not let them be narrower"
        )
    if any(isinstance(s, Mimo) for s in systems):
        notes.append("S5: one system a layer, gains are largest singular values, dt a mean")
    if any(isinstance(s, Dense) for s in systems):
        unknown = int(table["kappa"].isna().sum())
        large = f"; kappa > {MAX_CONDITION:g} in {unknown} channels, poles uncertain"
        trained = "full state matrices: kappa and poles are those of the trained matrix"
        notes.append(trained + (large if unknown else ""))
    else:
        notes.append("eigenvalues are stored, so that kappa is the initialisation's")
    if any(system.by_length for system in systems):
        notes.append(f"DSS: the softmax kernel of length {length}, continued for all time")
    slow = int((~table["finite_converged"]).sum())
    if slow:
        notes.append(f"finite gain: {slow} systems did not converge to 1e-6; a lower bound")
    return tuple(notes)
