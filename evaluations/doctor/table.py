"""The table of checks, and how they are run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from robustssm.evaluations.doctor import gradients, layers, logits, machine, noise
from robustssm.evaluations.doctor.base import FAIL, Check, Finding, Setting, Subject
from robustssm.execution import one_thread

CHECKS = (
    Check("environment", once=machine.environment),
    Check("philox", once=noise.known_answers),
    Check("draws", once=noise.draws),
    Check("perturbed inputs", once=noise.perturbed),
    Check("convolution float64", once=partial(layers.convolution, dtype=torch.float64)),
    Check("convolution float32", once=partial(layers.convolution, dtype=torch.float32)),
    Check("gradients", once=gradients.central_differences),
    Check("kernels", each=layers.kernels),
    Check("poles", each=layers.poles),
    Check("clean accuracy", each=logits.accuracy),
    Check("determinism", each=logits.determinism),
    Check("batches", each=logits.batch_invariance),
    Check("state", each=logits.state),
    Check("evaluation mode", each=logits.eval_mode),
    Check("zero gradients", each=gradients.zero_gradients),
    Check("device", each=logits.device),
    Check("processes", each=machine.processes, full=True),
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
    """Run every check, on one thread as sweeps are, and return what they found.

    A check that crashes has failed, with its message. report: called as findings come.
    """
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
        if subject is not None and check.each is not None:
            return check.each(setting, subject)
        assert check.once is not None
        return check.once(setting)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding("nothing: the check itself failed", "", None, None, said, FAIL)
