"""The steps of the study: recipes, accuracies, and what weights and gradients predict."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from robustssm.attacks import Budget
from robustssm.attacks.adversaries.base import Target
from robustssm.attacks.adversaries.victim import Victim
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.paper.fig3_accuracy import swept
from robustssm.evaluations.paper.reproduction import Context
from robustssm.evaluations.paper.trainings import Training, in_processes, trained
from robustssm.evaluations.searches.mode_ranking import GRADIENTS, expected_drop
from robustssm.evaluations.study import design
from robustssm.evaluations.sweep.condition_names import CLEAN
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.evaluations.trained_layers.gain import model_gain
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem, fold
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.execution import one_thread
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import accuracy
from robustssm.networks.network import Network, own_network
from robustssm.tasks import Task, load_task
from robustssm.typing import ComplexArray, FloatArray, IntArray

# Columns of a training in every table; `variant` is empty, or what Q7 changes.
OF = ["task", "init", "seed", "variant"]


def recipes(context: Context, task: str) -> pd.DataFrame:
    """Return the validation accuracy of every model at each rate: task, init, rate, accuracy."""
    asked = [
        one
        for rate in design.RATES
        for one in design.trainings(context.settings, task, rate, [design.SELECTION])
    ]
    found = trained(asked, context.shared, context.jobs)
    split = load_task(task).splits["validation"]
    rows = [
        (task, one.init, one.ssm_lr, accuracy(load_checkpoint(found[one]).network.eval(), split))
        for one in asked
    ]
    return pd.DataFrame(rows, columns=["task", "init", "rate", "accuracy"])


def networks(context: Context, task: str) -> dict[Training, str]:
    """Return the task's trainings, and what each changes: nothing, or a variant of Q7."""
    tried = context.tables[f"{design.label(task)}-recipes"].groupby("rate")["accuracy"].mean()
    rate = float(tried.idxmax())  # the smaller one if they are equal: groups are sorted
    seeds = context.settings["seeds"]
    asked = dict.fromkeys(design.trainings(context.settings, task, rate, seeds), "")
    return asked | (design.variants(context.settings, rate) if task == design.VARIED else {})


def _about(one: Training, variant: str) -> dict[str, object]:
    return {"task": one.task, "init": one.init, "seed": one.seed, "variant": variant}


def accuracies(context: Context, task: str) -> pd.DataFrame:
    """Return a row for each network and condition of a task: OF, hash, place, at, eps, n, correct.

    place: clean, input or layers; at: mode, or frequency over the spike's.
    """
    asked = networks(context, task)
    found = trained([*asked], context.shared, context.jobs)
    data, rows = load_task(task), []
    for n in sorted({one.n for one in asked}):
        here = [one for one in asked if one.n == n]
        refs = {
            ModelRef(f"{one.init} {asked[one]}".strip(), found[one], one.seed): one for one in here
        }
        planned = design.conditions(data, n)
        plan = plan_conditions([*refs], planned, task=task, limit=design.LIMIT)
        run = swept(plan, context.folder / f"n-{n}", context.jobs)
        spike = design.frequencies(n)[design.OCTAVES.index(1.0)]
        which = {str(ref): one for ref, one in refs.items()}
        for cell in plan.cells:
            one, names = which[str(cell.model.ref)], cell.names
            correct = run.arrays(cell.id, ["correct"])["correct"]
            place = CLEAN if names["noise"] == CLEAN else names["inject"]
            at = round(names["mode"] / spike, 6) if place == "layers" else names["mode"]
            row = {"hash": cell.model.content_hash, "place": place, "at": at, "eps": names["eps"]}
            row |= {"n": len(correct), "correct": int(np.count_nonzero(correct))}
            rows.append(_about(one, asked[one]) | row)
    return pd.DataFrame(rows)


def weights(context: Context, task: str) -> pd.DataFrame:
    """Return what is known of each network without a perturbed sample, a row per frequency.

    OF, place, at; response, finite, gradient: predictions of docs/protocol.md, NaN if there is
    none; gain: largest certified peak gain; finite_gain: at the spike, over the task's length,
    largest of all channels; kappa of the initialisation.
    """
    asked = networks(context, task)
    found = trained([*asked], context.shared, context.jobs)
    parts = in_processes(_of_network, [(one, found[one], task) for one in asked], context.jobs)
    frames = [
        part.assign(**_about(one, asked[one])) for one, part in zip(asked, parts, strict=True)
    ]
    table = pd.concat(frames, ignore_index=True)
    return table[[*OF, *(name for name in table if name not in OF)]]


def _of_network(one: Training, path: Path, task: str) -> pd.DataFrame:
    """Return the rows of `weights` of one network, without OF."""
    checkpoint, data = load_checkpoint(path), load_task(task)
    network = own_network(checkpoint.network, "study")
    L = typical_length(data)
    modes, omegas = design.modes(data.length), design.frequencies(one.n)
    # Of shorter samples the highest mode is the one of half their length.
    angles = 2.0 * np.pi * np.minimum(modes, L // 2) / L
    systems = [layer_system(layer, L) for layer in network.ssm_layers()]
    at_input: dict[str, object] = {"place": "input", "at": modes.astype(np.float64)}
    at_layers: dict[str, object] = {"place": "layers", "at": design.OCTAVES}
    for name, length in (("response", None), ("finite", L)):
        at_input[name] = [through_first(network, systems[0], theta, length) for theta in angles]
        at_layers[name] = [mean_gain(systems, omega, length) for omega in omegas]
    at_input["gradient"] = gradients(checkpoint.network, data, modes)
    frame = pd.concat([pd.DataFrame(at_input), pd.DataFrame(at_layers)], ignore_index=True)
    known = model_gain(one.init, checkpoint, length=L)
    spike = float(omegas[design.OCTAVES.index(1.0)])
    return frame.assign(
        gain=float(known.channels["gain_low"].max()),
        finite_gain=max(np.linalg.norm(matrix(s, spike * s.dt, L), 2) for s in systems),
        kappa=np.nan if known.kappa is None else known.kappa,
    )


def typical_length(task: Task) -> int:
    """Return the task's length, the median of the test samples' if they differ."""
    lengths = task.splits["test"].lengths
    return task.length if lengths is None else int(np.median(lengths))


def matrix(system: LayerSystem, theta: FloatArray, length: int | None) -> ComplexArray:
    """Return what a layer makes of waves at theta (c,), rad per sample, (outputs, inputs).

    length: samples after which the impulse response is cut off, where time is not endless: what
    a wave that starts with the sample has become at its end.
    """
    if length is None:
        H = system.response(fold(theta)[:, None])[..., 0]
    else:
        H = (system.kernel(length) * np.exp(-1j * theta[:, None] * np.arange(length))).sum(-1)
    return np.diag(H) if H.ndim == 1 else H


def mean_gain(systems: Sequence[LayerSystem], omega: float, length: int | None) -> float:
    """Return the geometric mean over layers of root mean squares over channels.

    Each channel has a unit wave of its own phase, at omega rad per unit of the layer's time.
    """
    norms = [matrix(system, omega * system.dt, length) for system in systems]
    return float(np.exp(np.mean([np.log(np.linalg.norm(H) / len(H) ** 0.5) for H in norms])))


def through_first(network: Network, system: LayerSystem, theta: float, length: int | None) -> float:
    """Return |H W|_F of encoder W and first layer at theta: `input_response`, or cut off."""
    W = network.input_weight.detach().double().cpu().numpy()
    return float(np.linalg.norm(matrix(system, np.full(len(system.dt), theta), length) @ W))


def gradients(network: Classifier, task: Task, modes: IntArray) -> FloatArray:
    """Return the linearised change of the margin at 32 test samples for each mode, (modes,).

    NaN where samples have several lengths.
    """
    if task.splits["test"].lengths is not None:
        return np.full(len(modes), np.nan)
    with one_thread(), Victim(network) as victim:
        target = Target.of(victim, task, Budget(design.LOW, "std"), limit=GRADIENTS)
        return expected_drop(target, modes)
