"""The table of checks, and how they are run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from robustssm.evaluations.doctor import gradients, layers, logits, machine, noise
from robustssm.evaluations.doctor.base import FAIL, Check, Finding, Setting, Subject
from robustssm.execution import one_thread

CHECKS = (
    Check("environment", machine.environment),
    Check("philox", noise.known_answers),
    Check("draws", noise.draws),
    Check("perturbed inputs", noise.perturbed),
    Check("convolution float64", partial(layers.convolution, dtype=torch.float64)),
    Check("convolution float32", partial(layers.convolution, dtype=torch.float32)),
    Check("gradients", gradients.central_differences),
    Check("contract", logits.contract, each=True),
    Check("kernels", layers.kernels, each=True),
    Check("poles", layers.poles, each=True),
    Check("clean accuracy", logits.accuracy, each=True),
    Check("determinism", logits.determinism, each=True),
    Check("batches", logits.batch_invariance, each=True),
    Check("state", logits.state, each=True),
    Check("evaluation mode", logits.eval_mode, each=True),
    Check("zero gradients", gradients.zero_gradients, each=True),
    Check("device", logits.device, each=True),
    Check("processes", machine.processes, each=True, full=True),
)


def planned(setting: Setting) -> list[tuple[Check, Subject | None]]:
    """Return the checks to run, once or for each model."""
    return [
        (check, subject)
        for check in CHECKS
        if setting.full or not check.full
        for subject in (setting.subjects if check.each else (None,))
    ]


def examine(
    setting: Setting, report: Callable[[Finding], None] = lambda finding: None
) -> list[Finding]:
    """Return what every check found, on one thread; one that crashes has failed, and says why."""
    findings = []
    for check, subject in planned(setting):
        with one_thread():
            finding = run(check, setting, subject)
        model = "" if subject is None else str(subject.ref)
        findings.append(replace(finding, check=check.name, model=model))
        report(findings[-1])
    return findings


def run(check: Check, setting: Setting, subject: Subject | None) -> Finding:
    """Return the finding of one check; that it failed, with the message, if it crashed."""
    try:
        return check.find(setting) if subject is None else check.find(setting, subject)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding("nothing: the check itself failed", "", None, None, said, FAIL)
