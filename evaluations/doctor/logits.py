"""Checks of a network in evaluation: same bits again, in any batch; nothing of it changes."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from robustssm import philox
from robustssm.checkpoints.cards import CLEAN_R2
from robustssm.checkpoints.native import weights_hash
from robustssm.evaluations.doctor import base
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.trained_layers.examination import layer_parity
from robustssm.execution import repeatable
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import accuracy as clean_accuracy
from robustssm.networks.inference import logits
from robustssm.targets import CLASSES

# Batches of a sample alone, of such as leave a rest, and as sweeps have them.
_BATCHES = (1, 7, 64)
# Closer to a tie than this, another machine's rounding may change the answer.
_TIE = 1e-6
_LIMIT = 48
_DEVICES = "logits and draws of the GPU with those of the CPU"
_OFF = "largest error of the logits, against float64 on the CPU"


def _evaluations(
    subject: base.Subject, network: Classifier, batch_size: int
) -> Iterator[pd.DataFrame]:
    """Yield the rows of cells as sweeps have them: clean, and noise at the input and at layers."""
    noises = [Noise("fourier", modes=(min(8, subject.task.length // 4),), eps=(0.3,))]
    if network.ssm_layers():
        noises.append(Noise("ColouredNoise(1)", eps=(0.3,), inject="layers"))
    plan = make_plan([subject.ref], noises, task=subject.data, limit=_LIMIT)
    for cell in plan.cells:
        yield pd.DataFrame(cell_columns(network, cell, plan.task, batch_size))


def contract(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Look whether a model fits the data, repeats itself, and is what its layers say."""
    plan = make_plan([subject.ref], Noise("fourier", modes=(1,), eps=(0.3,)), task=subject.data)
    layers = subject.copy().ssm_layers()
    off = [f"{layer_parity(one):.1e}" if one.readable else "not known" for one in layers]
    return base.judge(
        "what a model takes and gives, on the first samples, with what sweeps expect",
        "points that are missed",
        0.0,
        "shapes, classes and repetition are as docs/own-modules.md says",
        {
            "notes": "; ".join(plan.models[0].notes),
            "forward off the system that a layer says it is, relative": ", ".join(off),
        },
    )


def determinism(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare an evaluation with its repetition by a copy of the network, kernels built anew."""
    x = setting.inputs(subject)
    differ = base.different_rows(logits(subject.network, x), logits(subject.copy(), x))
    first = _evaluations(subject, subject.network, 64)
    second = _evaluations(subject, subject.copy(), 64)
    differ += sum(len(a.compare(b)) for a, b in zip(first, second, strict=True))
    return base.judge(
        "an evaluation (logits; rows of clean and perturbed cells) with its repetition",
        "samples that differ in any bit",
        differ,
        "the same operations on the same numbers",
        {"samples": len(x) + 3 * _LIMIT},
    )


def batch_invariance(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare logits in batches of 1, 7 and 64 samples and in another order, bit by bit."""
    x, network = setting.inputs(subject), subject.network
    order = torch.from_numpy(np.random.Generator(np.random.Philox(0)).permutation(len(x)))
    reference = logits(network, x, len(x))
    ways = {f"{size} at a time": logits(network, x, size) for size in _BATCHES}
    ways["shuffled"] = torch.empty_like(reference)
    ways["shuffled"][order] = logits(network, x[order], 64)
    differ = {way: base.different_rows(reference, other) for way, other in ways.items()}
    rows = zip(_evaluations(subject, network, 64), _evaluations(subject, network, 7), strict=True)
    differ["cells, 7 at a time"] = sum(len(a.compare(b)) for a, b in rows)
    labels = torch.from_numpy(setting.split(subject).labels)
    ties = int((subject.task.kind.margins(reference, labels).abs() < _TIE).sum())
    return base.judge(
        "logits of all samples at once with those in batches of 1, 7 and 64 and in another order",
        "samples that differ in any bit",
        sum(differ.values()),
        "samples are evaluated in blocks of constant shape, whatever the batch",
        {
            "samples": len(x),
            "ties (|margin| < 1e-6)": ties,
            "where": {way: count for way, count in differ.items() if count},
        },
    )


def _state(network: nn.Module) -> dict[str, object]:
    """Return what an evaluation has to leave as it was, the global random state included."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = list(network.modules())
    rng = torch.random.get_rng_state().numpy().tobytes()
    return {
        "weights and buffers": weights_hash(dict(network.state_dict())),
        "training mode": [module.training for module in modules],
        "requires_grad": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad is not None for parameter in network.parameters()],
        "hooks": [len(getattr(module, name)) for module in modules for name in hooks],
        "torch's random state": hashlib.sha256(rng).hexdigest(),
    }


def state(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare a network's state before and after evaluations."""
    network = subject.copy()
    before = _state(network)
    logits(network, setting.inputs(subject))
    for _ in _evaluations(subject, network, 64):
        pass
    after = _state(network)
    changed = [what for what in before if before[what] != after[what]]
    return base.judge(
        "the model's hash, modes and hooks before evaluations with those after them",
        "parts that changed",
        len(changed),
        "an evaluation only reads",
        {"parts": len(before), "changed": ", ".join(changed)},
    )


def eval_mode(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare the logits of a network left in training mode, dropout 1/2, with those in eval."""
    x, network = setting.inputs(subject), subject.copy()
    reference = logits(network, x)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    differ = base.different_rows(reference, logits(network, x))
    restored = all(module.training for module in network.modules())
    return base.judge(
        "logits of a network in training mode, dropout 0.5, with those in evaluation mode",
        "samples that differ in any bit, one more where the mode is not restored",
        differ + (not restored),
        "evaluation mode is enforced, and restored",
        {"samples": len(x)},
    )


def accuracy(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare the clean test accuracy, of values R2, with that on the model's card."""
    card, task = subject.checkpoint.card, subject.task
    split = task.splits["test"]
    measured = clean_accuracy(subject.network, split, task.kind)
    known: Any = card.training.get(CLEAN_R2, card.clean_accuracy)
    chance = task.chance if task.kind is CLASSES else 0.0
    same = task.content_hash == card.task_hash
    if known is None:
        return base.judge(
            "clean accuracy on the test split with that of the best constant answer",
            "how far it is below",
            chance - measured,
            "a model that has learned something is above; are its weights loaded?",
            {"measured": measured, "chance": chance, "n": len(split)},
            holds=measured > chance,
        )
    return base.judge(
        "clean accuracy on the test split with the model's card",
        "difference",
        abs(measured - known),
        "one sample: another machine's rounding may flip a tie",
        {
            "measured": measured,
            "card": known,
            "n": len(split),
            "data": "" if same else f"{task.content_hash[:12]}, the card {card.task_hash[:12]}",
        },
        tolerance=1.5 / len(split),
        holds=same,
    )


def device(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare a GPU's logits and draws with the CPU's, if there is one."""
    if setting.device.type != "cpu":
        return device_against_cpu(setting, subject)
    return base.Finding(
        _DEVICES,
        _OFF,
        None,
        None,
        "no GPU is here, or --device is cpu",
        base.NOT_AVAILABLE,
        {
            "TF32 matrix products": torch.backends.cuda.matmul.allow_tf32,
            "TF32 cuDNN": torch.backends.cudnn.allow_tf32,
        },
    )


def device_against_cpu(setting: base.Setting, subject: base.Subject) -> base.Finding:
    """Compare logits and draws of the setting's device, set up as for a sweep, with the CPU's."""
    repeatable(setting.device)
    x, network = setting.inputs(subject), subject.copy()
    exact = logits(subject.copy().double(), x.double())
    cpu = _off(logits(network, x), exact)
    network, there = network.to(setting.device), x.to(setting.device)
    first, again, sevens = (logits(network, there, size).cpu() for size in (64, 64, 7))
    gpu = _off(first, exact)
    ids = np.arange(100)
    draws = base.different_rows(philox.uniform_tensor("doctor", ids, 101, setting.device).cpu(),
                           philox.uniform_tensor("doctor", ids, 101))  # fmt: skip
    tf32_on = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    repeated = base.different_rows(first, again)
    return base.judge(
        _DEVICES,
        _OFF,
        gpu,
        "8 times what float32 on the CPU is off, for other orders of summation; TF32 is off by "
        "1000 times as much. Draws and repetitions have to have the same bits",
        {
            "device": str(setting.device),
            "float32 on the CPU is off by": f"{cpu:.2g}",
            "samples whose draws differ": draws,
            "samples that differ when repeated": repeated,
            "samples that differ in batches of 7": base.different_rows(first, sevens),
            "TF32 in sweeps": "on" if tf32_on else "off",
        },
        tolerance=8.0 * cpu,
        holds=not (tf32_on or draws or repeated),
    )


def _off(rounded: Tensor, exact: Tensor) -> float:
    return float((rounded.double() - exact).abs().max())
