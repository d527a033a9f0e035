"""What an importer makes of a checkpoint from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.networks.classifier import Classifier
from robustssm.networks.foreign import Blueprint, SequenceModel

# Options of a mixer, or fields of a blueprint, and the tensors that belong to them.
Part = tuple[dict[str, object], dict[str, Tensor]]
# What is to be known of a network that compares two documents.
PAIRS = (
    "a sample is two documents of equal length, one behind the other; padding counts as steps, and "
    "noise at the layers' inputs is drawn once for both"
)


@dataclass(frozen=True)
class Imported:
    """A network, what a user should know of how it was read, and what kind of SSM it is.

    notes: sentences for people; family: s4, s4d, dss, s5, lru, linoss or mamba, as far as
    the file tells. formula: what the tensors of a layer mean, in their own names; target: name of
    the kind of target that it was trained on, None if the file does not tell.
    """

    network: Classifier
    notes: tuple[str, ...]
    family: str
    formula: str = ""
    target: str | None = None

    @property
    def reading(self) -> str:
        """How the file was read, whatever of it the file tells: what another script may mean.

        A network that computes something else differs in one of these, or in a tensor.
        """
        if not isinstance(self.network, SequenceModel):
            return ""
        b = self.network.blueprint
        places = ["before each block" if b.prenorm else "behind each block"]
        places += ["behind the encoder"] * b.encoder_norm + ["at the end"] * b.final_norm
        steps = f" of steps from {b.pool_from}" if b.pool_from else ""
        said = {
            "norm": f"{b.norm} (eps {b.norm_eps:g}) {', '.join(places)}"
            if b.norm != "none"
            else "none",
            "residual": b.residual,
            "activation": b.activation,
            "output": b.output,
            "pooling": f"{b.pooling}{steps}",
        }
        parts = ", ".join(f"{key} {value}" for key, value in said.items())
        mirrored = "; x is followed by x reversed" if b.mirrored else ""
        return f"read as {b.source}: {self.formula or 'its own layers'}; {parts}{mirrored}"


def standardisation(overrides: Overrides, channels: int) -> dict[str, Tensor]:
    """Return the mean and std of the inputs (channels,) that a user gave, 0 and 1 if none."""
    mean = overrides.numbers("input_mean", channels, 0.0)
    std = overrides.numbers("input_std", channels, 1.0, positive=True)
    return {"mean": torch.tensor(mean), "std": torch.tensor(std)}


def sequence_network(
    source: str,
    fields: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    overrides: Overrides,
    weights: Weights,
) -> SequenceModel:
    """Return the network of a blueprint's fields, with these tensors and the standardisation.

    Raises UsageError if an option is needed or unknown, RejectedInputError if a tensor of the file
    was not taken.
    """
    d_input = fields["d_input"]
    assert isinstance(d_input, int)
    if fields.get("tokens"):
        standard = {"mean": torch.zeros(d_input), "std": torch.ones(d_input)}
    else:
        standard = standardisation(overrides, d_input)
    overrides.finish()
    weights.finish()
    with torch.random.fork_rng(devices=[]):
        network = SequenceModel(Blueprint(source=source, **fields))  # type: ignore[arg-type]
    network.load_state_dict({**standard, **tensors}, strict=True)
    return network.eval().requires_grad_(False)


def lone_layer(mixer: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Part:
    """Return the fields and tensors of a network of one layer and nothing else."""
    d = tensors["ssm.D"].shape[1]
    fields: dict[str, object] = {
        **{"d_input": d, "d_model": d, "d_output": d, "mixers": (mixer,), "decoder": False},
        **dict.fromkeys(("encoder", "norm", "residual", "activation", "output", "pooling"), "none"),
    }
    return fields, {f"blocks.0.{key}": value for key, value in tensors.items()}
