"""Models: loaded from any checkpoint, or wrapped from memory; what they answer; their layers."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from robustssm.api.results import html_table
from robustssm.arguments import checked, several, wrong
from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.factory import wrap_module
from robustssm.checkpoints.model_names import ModelRef, check_labels, label_and_seed, resolve
from robustssm.errors import RejectedInputError, UsageError, require_one_of
from robustssm.evaluations.sweep.probe import answers
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem
from robustssm.evaluations.trained_layers.reading import layer_spectrum, layer_system
from robustssm.execution import one_thread
from robustssm.layers.base import SSMLayer, array
from robustssm.networks.classifier import TAKES_TOKENS
from robustssm.tasks import Task, recorded_task
from robustssm.tasks.arrays import NAMES, task_of
from robustssm.tasks.reading import Array, Source
from robustssm.typing import ComplexArray, FloatArray

# Where arrays are that come from no file.
MEMORY = Path("in memory")


def array_of(what: str, given: Any, kinds: str = "fiu") -> Array:
    """Return an array of its own, in the machine's byte order; RejectedInputError if it is none."""
    try:
        if isinstance(given, torch.Tensor):
            given = given.detach().cpu()
            given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
        values = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # ragged, or no array at all
        values = np.empty(0, object)
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind not in kinds:
        raise RejectedInputError(str(wrong(what, given, "an array of numbers")))
    return np.array(values, f"{kind}{min(8, max(4, size))}" if kind in "fiu" else values.dtype)


def samples(source: Source, inputs: Any, spec: str = "", **others: Any) -> Task:
    """Return arrays in memory as the task of a file that holds them; RejectedInputError as there.

    others: further arrays by their names there; None is none. Without labels all are 0.
    """
    content = {"inputs": inputs, **{k: v for k, v in others.items() if v is not None}}
    for name in content:
        require_one_of(f"{source.who}:", name, NAMES)
    arrays = {k: array_of(f"{source.who}: {k}", v, "fiuU") for k, v in content.items()}
    count = len(np.atleast_1d(arrays["inputs"]))
    return task_of(source, {"labels": np.zeros(count, np.int64), **arrays}, spec)


@dataclass(frozen=True, repr=False, eq=False)
class Model(Checkpoint):
    """A trained network in evaluation mode, with what its checkpoint says."""

    ref: ModelRef = field(kw_only=True)

    @property
    def layers(self) -> tuple["Layer", ...]:
        """The SSM layers, in order."""
        return tuple(Layer(self, k, one) for k, one in enumerate(self.network.ssm_layers()))

    def predict(
        self, x: Any, lengths: Any = None, precision: str = "float32", source: Source | None = None
    ) -> Array:
        """Return logits (batch, classes), or values.

        x: (batch, length, channels); (batch, length) has one channel, of integers it is tokens.
        lengths: valid steps of each sample, (batch,). precision: `float32` or `float64`, of the
        whole network. source: where x is from, for messages.
        """
        require_one_of("precision:", precision, ("float32", "float64"))
        source = source or Source("predict", MEMORY)
        values = array_of(source.who, x)
        split = samples(source, values, lengths=lengths).splits["test"]
        ends = None if split.lengths is None else torch.from_numpy(split.lengths)
        network, dtype = self.network, getattr(torch, precision)
        if network.mean.dtype != dtype:
            network = deepcopy(network).to(dtype)
        inputs = torch.from_numpy(split.inputs)
        if inputs.ndim == 2 and network.tokens is not None:
            if inputs.max() >= network.tokens:
                raise source.rejected(
                    f"tokens run from {inputs.min()} to {inputs.max()}, {self.ref} has 0 to "
                    f"{network.tokens - 1}"
                )
            inputs = network.embed(inputs)
        elif inputs.ndim == 3:
            inputs = torch.from_numpy(values).reshape(inputs.shape)
        if inputs.ndim != 3 or network.d_input not in (None, inputs.shape[2]):
            raise source.rejected(
                f"has shape {values.shape}, {self.ref} expects (samples, length, "
                f"{network.d_input or 'channels'})"
                f"{TAKES_TOKENS if inputs.ndim == 2 and self.ref.runs_code else ''}"
            )
        with one_thread():
            result = answers(self.ref, network, inputs.to(dtype), ends)
        broken = int((~torch.isfinite(result)).sum())
        if broken:
            raise source.rejected(
                f"{broken} of {result.numel()} outputs of {self.ref} are not finite; look at the "
                "input and the checkpoint"
            )
        return result.numpy()

    def _facts(self) -> pd.DataFrame:
        facts = {
            "layers": " ".join(layer.module.kind for layer in self.layers),
            "state size": self.network.state_size,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "trained on": self.card.task,
            "clean accuracy": self.card.clean_accuracy,
            "content": self.content_hash[:12],
        }
        known = [(key, str(value)) for key, value in facts.items() if value]
        return pd.DataFrame(known, columns=["model", str(self.ref)])

    def __repr__(self) -> str:
        return f"Model({self.ref}: {'; '.join(f'{k} {v}' for k, v in self._facts().to_numpy())})"

    def _repr_html_(self) -> str:
        return html_table("; ".join(self.notes), self._facts())


@dataclass(frozen=True, eq=False)
class Layer:
    """An SSM layer of a model as a linear system; `module` is the layer itself."""

    model: Model
    index: int
    module: SSMLayer = field(repr=False)

    @property
    def poles(self) -> ComplexArray:
        """The continuous poles, (channels, n), 1 / the layer's time; of S5 (1, n)."""
        return layer_spectrum(self.module).poles.copy()

    @property
    def step_size(self) -> FloatArray:
        """The step size dt of each channel, (channels,), the layer's time per sample."""
        return array(self.module.step_size()).copy()

    @checked
    def frequency_response(self, theta: Any, length: int | None = None) -> ComplexArray:
        """Return H(e^{i theta}), (channels, points); of S5 (outputs, inputs, points).

        theta: (points,), rad per sample. length: samples, which matter to kernels of DSS alone;
        those of the model's task by default.
        """
        points = np.atleast_1d(array_of("theta", theta)).astype(np.float64)
        if points.ndim > 1 or not np.isfinite(points).all():
            raise wrong("theta", theta, "finite frequencies (points,), rad per sample")
        return self._system(length).response(points)

    @checked
    def peak_gain(self, rtol: float = 1e-3, length: int | None = None) -> pd.DataFrame:
        """Return low <= sup |H| <= high of each channel (of S5: of the layer), certified.

        low is attained at theta, rad per sample, and omega, rad per unit of the layer's time.
        rtol: relative width of the brackets; length: as of `frequency_response`.
        """
        system = self._system(length)
        found = pd.DataFrame(system.peaks(rtol))
        theta = 2.0 * np.arctan(found["omega"].to_numpy())
        return found.assign(omega=system.omega(theta, system.dt), theta=theta)

    def _system(self, length: int | None) -> LayerSystem:
        system = layer_system(self.module, 1 if length is None else length)
        if system.by_length and length is None:
            system = layer_system(self.module, task_length(self.model, str(self.model.ref)))
        return system


def task_length(checkpoint: Checkpoint, label: str, who: str = "length") -> int:
    """Return the length of the task of a model; UsageError if the task is not known."""
    task = checkpoint.card.task
    if not task:
        raise UsageError(f"{who}: {label} does not say what it was trained on; give --length")
    try:
        return recorded_task(task, f"checkpoint {label}").length
    except UsageError:
        raise UsageError(f"{who}: {label} was trained on {task:.80}; give --length") from None


@checked
def load(name_or_path: str | PathLike[str], **overrides: object) -> Model:
    """Return a trained network. Nothing in a checkpoint is executed.

    Raises UsageError if an override is needed or wrong, RejectedInputError if the file is damaged
    or in no known layout.

    Parameters
    ----------
    name_or_path : str or path
        `s4d`, `s4d/2`, a checkpoint file or folder of any known format, `name=path`, or
        `module.py:function`.
    **overrides
        What the file does not say, by the names of the original's options, as in
        `load("ckpt.pth", script="example.py", prenorm=False)`; what is assumed is in `notes`.
    """
    found = resolve(str(name_or_path), [f"{key}={text}" for key, text in _texts(overrides)])
    if len(found) != 1:
        raise UsageError(f"load: {name_or_path} names {len(found)} models, expected one")
    return load_ref(found[0])


@checked
def wrap(module: nn.Module, name: str | None = None, **settings: object) -> Model:
    """Return a copy of a torch module, (batch, length, channels) to (batch, classes), as a model.

    Its identity, the content hash, is of its weights and buffers, its printed form, the numbers
    and texts that its parts hold as attributes, and the source of their classes as far as Python
    finds it; not of what lies elsewhere, such as a global variable that its forward reads.

    Parameters
    ----------
    module : Module
        The network; it is left as it is.
    name : str, optional
        What it is called; the name of its class by default.
    **settings
        `input_mean`, `input_std`: standardise inputs before the module; one number, or one per
        channel.
    """
    label = type(module).__name__ if name is None else name
    ref = ModelRef(label, Path(), held=wrap_module(module, dict(_texts(settings))))
    return load_ref(refs_of({label: load_ref(ref)})[0])


def load_ref(ref: ModelRef) -> Model:
    """Return the model of a reference."""
    return Model(**vars(ref.load()), ref=ref)


def refs_of(models: Any) -> list[ModelRef]:
    """Return the models of a sweep: names, paths, models or modules, in a dict by their names."""
    named = isinstance(models, Mapping)
    refs: list[ModelRef] = []
    for name, model in models.items() if named else ((None, one) for one in several(models)):
        model = wrap(model) if isinstance(model, nn.Module) else model
        if not isinstance(model, str | PathLike | Model) or not isinstance(name, str | None):
            raise wrong("model", (name, model) if named else model, "a name, a path or a model")
        found = [model.ref] if isinstance(model, Model) else resolve(str(model))
        if name is not None:
            label, seed = label_and_seed(name, name)
            seeds = [ref.train_seed if seed is None else seed for ref in found]
            found = [
                replace(r, label=label, train_seed=s) for r, s in zip(found, seeds, strict=True)
            ]
        refs += found
    check_labels(refs)
    return refs


def _texts(settings: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """Yield settings as the command line spells them."""
    for key, value in settings.items():
        value = value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value
        text = ",".join(map(str, several(value)))
        yield key, text.lower() if isinstance(value, bool) else text
