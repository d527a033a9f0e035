"""A network out of a checkpoint's tensors and options, whatever the kernel of its layers."""

from collections.abc import Mapping, Sequence

import torch

from robustssm.checkpoints.imported import PAIRS, Imported, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces import backbone
from robustssm.checkpoints.state_spaces.ends import read_target
from robustssm.checkpoints.state_spaces.frames import EXAMPLE, JACOBIAN, JACOBIAN_NOTE
from robustssm.checkpoints.state_spaces.layers import LayerReader, read_layer
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.state_spaces.scripts import SCRIPTS, read_script
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents


def assembled(
    contents: Contents,
    overrides: Mapping[str, str],
    source: str,
    layer: LayerReader,
    names: Sequence[str],
) -> Imported:
    """Return the network of a file: a backbone, the classifier of a script, or one layer.

    layer: reads the tensors of one layer; names: what `_name_` of a layer may be.
    """
    given = Overrides(overrides, source, contents.path)
    w = Weights(contents.tensors, contents.path)
    config = contents.options or None
    if EXAMPLE.fits(w):
        parts = read_script(w, given, layer)
    elif JACOBIAN.fits(w):
        linear = Options({"activation": None}, given)
        parts = JACOBIAN.read(w, lambda one: read_layer(one, linear))
    elif any(name.startswith(("model.layers.", "layers.")) for name in w.names()):
        parts = backbone.BackboneReader(w, config, given, layer, names).read()
    else:
        one = layer(w, Options(None, given))
        fields, tensors = lone_layer(one.mixer, one.tensors)
        parts = backbone.Parts({**fields, "mask_padding": True, **one.output}, tensors, [one])
    version = parts.layers[0].version
    origin = source if source.endswith(version) else f"{source} {version}"
    if parts.script not in ("", "example.py"):
        origin = parts.script
    network = sequence_network(origin, parts.fields, parts.tensors, given, w)
    families = {one.family for one in parts.layers}
    family = families.pop() if len(families) == 1 else "s4"
    notes = _notes(contents, given, parts)
    target = read_target(config, network.blueprint.pooling)
    if target:
        notes.append(f"answers with {target}, no logits: its loss says so")
    return Imported(network, tuple(notes), family, parts.layers[0].formula, target)


def _notes(contents: Contents, overrides: Overrides, parts: backbone.Parts) -> list[str]:
    notes = []
    script, tensors = parts.script, contents.tensors
    if overrides.assumed:
        told = ", ".join(map(_spelt, overrides.assumed.items()))
        whose = f"taken as in {script}" if script else "these are the original's defaults"
        notes.append(f"the file does not say {told}: {whose}; --set says otherwise")
    kernel = f"{EXAMPLE.layers}0.kernel."
    if f"{kernel}log_A_real" in tensors:
        saved = tensors[f"{kernel}log_A_real"].dtype
        double = saved == torch.float64 != tensors[f"{kernel}C"].dtype
        if double != SCRIPTS[script].doubles:
            kind = str(saved).removeprefix("torch.")
            notes.append(f"log_A_real is {kind}, which {script} does not save; is it that script?")
    fork = parts.layers[0].version.partition("v4 of ")[2]
    if fork:
        notes.append(f"kernel.B is not in the file: as in {fork} C holds it, all modes count twice")
    if fork == "FreqBias":
        notes.append("its filters depend on the number of steps, padding included")
    normalised = "input_mean" in overrides or "input_std" in overrides
    if parts.fields.get("encoder_norm"):
        notes.append(JACOBIAN_NOTE)
    elif not normalised and not parts.fields.get("tokens"):
        notes.append("inputs are taken as the original's data loader gave them, normalised")
    if parts.fields.get("pair"):
        notes.append(PAIRS)
    dataset, train = (contents.options.get(key) for key in ("dataset", "train"))
    if isinstance(dataset, Mapping):
        changes = [key for key in ("permute", "grayscale", "tokenize") if dataset.get(key)]
        if changes:
            notes.append(f"its data loader was set to {', '.join(changes)}")
    if isinstance(train, Mapping) and train.get("ema"):
        notes.append("trained with ema: the averaged weights are with the optimizer and not read")
    if any(v.dtype == torch.float64 for key, v in tensors.items() if ".kernel." not in key):
        notes.append("linear maps and norms are rounded from float64 to float32")
    growing = [i for i, one in enumerate(parts.layers) if _grows(one.mixer, one.tensors)]
    if growing:
        notes.append(
            f"layers {', '.join(map(str, growing))} have poles with positive real part; their "
            "kernels run backwards from the input's end, as in the original"
        )
    return notes


def _spelt(option: tuple[str, object]) -> str:
    """Return an option as a --set has it, and what it means where its name does not tell."""
    name, value = option
    text = f"{name}={str(value).lower() if isinstance(value, bool) else value}"
    return f"{text} (A = -e^a + i {name} b; s4d.py 1, S4-PTD -1)" if name == "imag_sign" else text


def _grows(mixer: Mapping[str, object], tensors: Mapping[str, torch.Tensor]) -> bool:
    return mixer.get("discretization") == "dss" and bool((tensors["ssm.A"][..., 0] > 0).any())
