"""Torch modules of a user's own code: `module.py:function`.

Unlike a checkpoint, such a file is code, and is run. What it returns maps (batch, length,
channels) to logits (batch, classes). `robustssm.layers.own` says which parts of it are SSM layers;
docs/own-modules.md is the whole contract.
"""

import copy
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from robustssm.checkpoints.imported import standardisation
from robustssm.checkpoints.native import Checkpoint, unknown_checkpoint
from robustssm.checkpoints.overrides import Overrides
from robustssm.errors import RejectedInputError, UsageError
from robustssm.file_formats import read_contents
from robustssm.file_formats.wrappers import one_network
from robustssm.layers.base import SSMLayer
from robustssm.layers.own import OwnLayer, StateSpace, Steps
from robustssm.networks.classifier import Classifier


class FactoryModel(Classifier):
    """A module of somebody else.

    Of what it returns, the logits are the entry or attribute `logits`, or the first of a tuple.
    source: what is known of the code, for `to_dict`. What it takes and gives is what attributes
    d_input, d_output and tokens of the module say, None if there is none.
    """

    def __init__(self, module: nn.Module, source: Mapping[str, object]) -> None:
        sizes = [getattr(module, key, None) for key in ("d_input", "d_output", "tokens")]
        super().__init__(*(size if isinstance(size, int) else None for size in sizes))
        self.module, self._source, self.either = module, dict(source), True
        # Its weights are the module's alone.
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(self, name), persistent=False)

    def to_dict(self) -> dict[str, object]:
        """Return what is known of the code and of what it takes and gives."""
        sizes = {"d_input": self.d_input, "d_output": self.d_output}
        given = [self.mean.tolist(), self.std.tolist()]
        return {"kind": "module", **self._source, **sizes, "input": given}

    def embed(self, tokens: Tensor) -> Tensor:
        """Return what the module makes of tokens (batch, length): (batch, length, channels)."""
        who, embed = f"module {type(self.module).__name__}", getattr(self.module, "embed", None)
        if not callable(embed):
            raise UsageError(
                f"{who}: has the attribute tokens and no method embed(tokens); give it one that "
                "returns (batch, length, channels), which its forward takes"
            )
        try:
            x = embed(tokens)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise RejectedInputError(f"{who}: its embed raised {said}") from error
        fits = isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 3
        if not fits or x.shape[:2] != tokens.shape:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise UsageError(
                f"{who}: its embed returned {got} for tokens {tuple(tokens.shape)}, expected "
                "floats (batch, length, channels)"
            )
        return cast(Tensor, x)

    @property
    def state_size(self) -> int | None:
        """Order of the layers; None if one does not say, or they differ."""
        layers = self.ssm_layers()
        known = all(layer.readable for layer in layers)
        return super().state_size if known else None

    def ssm_layers(self) -> Sequence[SSMLayer]:
        """Return the layers that say what system they are, or their step sizes."""
        parts = self.module.modules()
        kinds = (SSMLayer, StateSpace, Steps)
        found = (part for part in parts if isinstance(part, kinds))
        return [part if isinstance(part, SSMLayer) else OwnLayer(part) for part in found]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes), or of every step; lengths, if any, are passed on."""
        x = (x - self.mean) / self.std
        logits: Any = self.module(x) if lengths is None else self.module(x, lengths=lengths)
        held = logits.get("logits") if isinstance(logits, Mapping) else None
        logits = getattr(logits, "logits", logits) if held is None else held
        logits = logits[0] if isinstance(logits, tuple) else logits
        steps = isinstance(logits, Tensor) and logits.shape[:2] == x.shape[:2]
        fits = isinstance(logits, Tensor) and logits.ndim == 2 + self.every_step
        if not fits or len(logits) != len(x) or (self.every_step and not steps):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            advice = "; pool over time in it" if steps > self.every_step else ""
            wanted = f"logits (batch, {'length, ' * self.every_step}classes){advice}"
            raise UsageError(
                f"module {type(self.module).__name__}: returned {shape} for input "
                f"{tuple(x.shape)}, expected {wanted}"
            )
        return logits


def build_module(
    path: Path, function: str, weights: Path | None, settings: Mapping[str, str]
) -> Checkpoint:
    """Return the module that `function` of the Python file makes, as a checkpoint.

    weights: a checkpoint file loaded into it strictly, without executing anything in it. The
    content hash covers the weights and the text of the Python file, not what that imports. Raises
    RejectedInputError if the code fails or the weights do not fit, UsageError for settings.
    """
    who = f"module {path}:{function}"
    module = _made(path, function, who)
    notes: tuple[str, ...] = (f"its weights are those that {function}() returns, no @weights.pth",)
    if weights is not None:
        notes, settings = _load_strictly(module, weights, settings, who)
    text = hashlib.sha256(path.read_bytes()).hexdigest()
    return _checkpoint(module, {"function": function, "source_sha256": text}, settings, who, notes)


def wrap_module(module: nn.Module, settings: Mapping[str, str]) -> Checkpoint:
    """Return a copy of a module in memory as a checkpoint, on the CPU; else as `build_module`.

    The content hash covers the weights, the printed form of the module, the plain attributes of
    its parts (numbers, words, truths), and the text of their classes, as far as Python finds it.
    """
    who = f"module {type(module).__name__}"
    try:
        copied = copy.deepcopy(module).cpu()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RejectedInputError(f"{who}: cannot be copied ({said}); give its file") from None
    source = {"function": type(module).__name__, "source_sha256": _code_hash(module)}
    return _checkpoint(copied, source, settings, who)


def _code_hash(module: nn.Module) -> str:
    """Return a hash of what fixes a module in memory, apart from its weights."""
    printed = re.sub(" at 0x[0-9a-f]+", "", repr(module))
    digest, usual = hashlib.sha256(printed.encode()), vars(nn.Module())
    kinds: dict[type, None] = {}
    for name, part in module.named_modules():
        plain = {
            key: value
            for key, value in sorted(vars(part).items())
            if key not in usual and isinstance(value, bool | int | float | str | None)
        }
        digest.update(repr((name, type(part).__qualname__, plain)).encode())
        kinds |= dict.fromkeys(type(part).__mro__)
    for kind in kinds:
        if not kind.__module__.startswith(("torch.", "builtins")):
            with suppress(OSError, TypeError):
                digest.update(inspect.getsource(kind).encode())
    return digest.hexdigest()


def _checkpoint(
    module: nn.Module,
    source: Mapping[str, object],
    settings: Mapping[str, str],
    who: str,
    notes: tuple[str, ...] = (),
) -> Checkpoint:
    """Return a module as a checkpoint, its inputs standardised as settings say."""
    network = FactoryModel(module, source)
    options = Overrides(settings, who)
    standard = standardisation(options, network.d_input or 1)
    network.mean, network.std = standard["mean"], standard["std"]
    options.finish()
    layers = network.ssm_layers()
    read = sum(layer.readable for layer in layers)
    said = (
        f"layers with a step size: {len(layers)}, resonance acts at their inputs; with a "
        f"state_space() for gain and inspect: {read}"
        if layers
        else "no layer offers a step size (a method step_size()): evaluated at the input only"
    )
    return unknown_checkpoint(network, {"source": "module"}, (said, *notes))


def _made(path: Path, function: str, who: str) -> nn.Module:
    if not path.is_file():
        raise RejectedInputError(f"{who}: no such file")
    name = f"_robustssm_module_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    try:
        with _beside(str(path.resolve().parent)):
            spec.loader.exec_module(code)
        make: Callable[[], object] | None = getattr(code, function, None)
        if not callable(make):
            raise RejectedInputError(f"{who}: the file has no function {function!r}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            with _beside(str(path.resolve().parent)):
                module = make()
    except (Exception, SystemExit) as error:
        if isinstance(error, RejectedInputError):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RejectedInputError(f"{who}: its code raised {said}") from error
    if not isinstance(module, nn.Module):
        raise RejectedInputError(
            f"{who}: returned {type(module).__name__}, expected a torch.nn.Module"
        )
    return module


@contextmanager
def _beside(folder: str) -> Iterator[None]:
    """Let the body import what lies in a folder, as a script may; it is searched last from then on.

    So what a module imports when it is called is found, and nothing there stands before a library.
    """
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _load_strictly(
    module: nn.Module, weights: Path, settings: Mapping[str, str], who: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Load a file's tensors, keys and shapes the module's own; return notes, other settings."""
    own = module.state_dict()
    held = read_contents(weights)
    contents, rest = one_network(held, settings, lambda c: c.tensors.keys() == own.keys())
    tensors = contents.tensors
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or extra:
        raise RejectedInputError(
            f"checkpoint {weights}: does not fit {who}: missing {', '.join(missing[:3]) or 'none'}"
            f" ({len(missing)}), unexpected {', '.join(extra[:3]) or 'none'} ({len(extra)})"
        )
    for key, value in own.items():
        if value.shape != tensors[key].shape:
            raise RejectedInputError(
                f"checkpoint {weights}: {key} has shape {tuple(tensors[key].shape)}, {who} "
                f"expects {tuple(value.shape)}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise RejectedInputError(f"checkpoint {weights}: {key} has NaN or infinite entries")
    for own_tensor in (*module.parameters(), *module.buffers()):
        if 0 in own_tensor.stride():  # an expanded view cannot be written to
            own_tensor.data = own_tensor.data.clone()
    module.load_state_dict(tensors, strict=True)
    return contents.notes, rest
