"""The loss of accuracy by mode, beside each SSM layer's gain at the same frequencies."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from robustssm.checkpoints.model_names import ModelRef, is_code, resolve, split_names
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.networks.classifier import Classifier
from robustssm.typing import FloatArray

# Units of modes that are frequencies of the input.
_UNITS = ("bin", "cycles")


def spearman(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Return Spearman's rank correlation of a and b (n,), and its p by cyclic shifts, two-sided.

    p is the share of the n shifts of b against a that reach |rho|, the unshifted one included:
    unlike permutations, shifts keep what neighbouring modes have in common, so that two smooth
    curves are not taken for related. It is at least 1 / n. NaN for both where n < 3 or one of
    them is constant.
    """
    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    n = len(x)
    if n < 3 or not scale > 0.0:
        return np.nan, np.nan
    place = np.arange(n)
    shifted = y[(place[:, None] + place) % n] @ x
    # Ties count, whatever the order of summation: eps of n additions.
    return float(x @ y / scale), float((np.abs(shifted) >= np.abs(x @ y) - 1e-9 * scale).mean())


def layer_gains(network: Classifier, L: int, theta: FloatArray) -> pd.DataFrame:
    """Return layer, place in theta (rad per sample), gain_max and gain_median over its channels."""
    frames = []
    for index, layer in enumerate(network.ssm_layers()):
        gain = layer_system(layer, L).gain(theta)
        frame = pd.DataFrame({"layer": index, "place": np.arange(len(theta))})
        frames.append(frame.assign(gain_max=gain.max(0), gain_median=np.median(gain, 0)))
    return pd.concat(frames, ignore_index=True)


def _references(state: Inspection) -> dict[str, tuple[ModelRef, str]]:
    """Return model/seed -> reference and content hash, from the manifest of a run."""
    options = state.manifest.get("options", {})
    listed = {one["name"]: one["content_hash"] for one in state.manifest.get("models", [])}
    named = [*options.get("models", ()), *options.get("checkpoints", ())]  # the latter of old runs
    code = [name for name in split_names(named) if is_code(name)]
    if code:
        raise UsageError(
            f"layer-response: {state.run.path} names Python code, {code[0]!r}, which a run may not "
            "start; leave layer-response out, or look at its layers by gain"
        )
    refs = resolve(named, options.get("settings", ()))
    return {str(ref): (ref, listed.get(str(ref), "")) for ref in refs}


def overlay(state: Inspection, summary: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model, training seed, eps, mode and layer, of the first noise by frequency.

    loss: clean minus perturbed accuracy; gain_max, gain_median; rho and p: `spearman` of loss and
    gain_max over the `modes` of that eps and layer whose loss is known. Raises UsageError if no
    noise has modes that are frequencies of the input, or a model has no SSM layers that can be
    read; RejectedInputError if a checkpoint is not the one that was swept.
    """
    noisy = perturbed(summary)
    noisy = noisy[(noisy["mode_unit"].isin(_UNITS)) & (noisy["inject"] == "input")]
    noisy = noisy[noisy["noise"] == noisy["noise"].iloc[0]] if len(noisy) else noisy
    if noisy["mode"].nunique() < 2:
        raise UsageError(
            f"layer-response: {state.run.path} has no noise at input with two modes in "
            f"{' or '.join(_UNITS)}; sweep fourier noise with --modes 1-32, say"
        )
    length = int(state.manifest["length"])
    frames = []
    for name, (ref, content) in _references(state).items():
        checkpoint = ref.load()
        if content and checkpoint.content_hash != content:
            raise RejectedInputError(
                f"layer-response: {name} has content {checkpoint.content_hash[:8]}, expected "
                f"{content[:8]}, as swept; give back the checkpoint, or sweep again"
            )
        network = checkpoint.network
        if not network.ssm_layers():
            raise UsageError(
                f"layer-response: {name} has no layers with a transfer function by protocol, "
                "expected s4, s4d, dss or s5 layers; leave layer-response out of --figures"
            )
        losses = noisy[noisy["model"] == ref.label]
        losses = losses[losses["train_seed"] == checkpoint.card.train_seed]
        if losses.empty:
            continue
        modes = np.sort(losses["mode"].unique())
        scale = 1.0 / length if losses["mode_unit"].iloc[0] == "bin" else 1.0
        theta = 2.0 * np.pi * modes * scale
        gains = layer_gains(network, length, theta)
        gains["theta"] = theta[gains["place"]]
        gains["mode"] = modes[gains.pop("place")]
        keys = ["model", "train_seed", "task", "noise", "mode_unit", "eps", "eps_unit", "n", "mode"]
        losses = losses[keys].assign(loss=losses["clean_accuracy"] - losses["accuracy"])
        frames.append(losses.merge(gains, on="mode"))
    if not frames:
        raise UsageError(f"layer-response: no model of {state.run.path} has finished cells")
    table = pd.concat(frames, ignore_index=True)
    rows = []
    keys = ["model", "train_seed", "eps", "layer"]
    for key, part in table.groupby(keys, sort=False):
        known = part.dropna(subset=["loss", "gain_max"])
        rho, p = spearman(known["loss"].to_numpy(), known["gain_max"].to_numpy())
        rows.append(dict(zip(keys, key, strict=True)) | {"rho": rho, "p": p, "modes": len(known)})
    return table.merge(pd.DataFrame(rows), on=keys)
