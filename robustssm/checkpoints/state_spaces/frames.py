"""Encoder, blocks with a LayerNorm each, mean over time, linear decoder: as short scripts have it.

References: state-spaces/s4, example.py (class S4Model); anonymousmambarobustness/
jacobian-role-in-mamba-robustness, SSM_robustness/models/SSM.py (classes SSM and S6).
"""

from collections.abc import Callable
from dataclasses import dataclass

from robustssm.checkpoints.state_spaces.backbone import Parts, block_names, norm_tensors
from robustssm.checkpoints.state_spaces.layers import Layer
from robustssm.checkpoints.weights import Weights


@dataclass(frozen=True)
class Frame:
    """What a script calls the parts of its network; first_norm: behind the encoder, if any."""

    layers: str
    encoder: str = "encoder"
    decoder: str = "decoder"
    first_norm: str = ""

    def fits(self, w: Weights) -> bool:
        """Return whether there are layers under the frame's name."""
        return any(name.startswith(self.layers) for name in w.names())

    def read(self, w: Weights, layer: Callable[[Weights], Layer], **fields: object) -> Parts:
        """Return the parts of a network.

        layer: reads what is under `<layers>.<i>.`; fields: of the blueprint, beside those of all
        such frames. A norm belongs to each layer, and none follows the last block.
        """
        names = block_names(w, self.layers)
        indices = range(len(names))
        numbered = set(map(str, indices)) == names
        w.require(numbered, f"{self.layers} has blocks {sorted(names)!s:.200}, expected 0, 1, ...")
        layers = [layer(w.scope(f"{self.layers}{i}.")) for i in indices]
        d = layers[0].d
        inputs, classes = w.size(f"{self.encoder}.weight", -1), w.size(f"{self.decoder}.weight")
        tensors = w.affine(self.encoder, "encoder", d, inputs)
        tensors |= w.affine(self.decoder, "decoder", classes, d)
        norms = {f"norms.{i}.": f"blocks.{i}.norm.norm." for i in indices}
        if self.first_norm:
            norms[f"{self.first_norm}."] = "encoder_norm.norm."
        for there, here in norms.items():
            tensors |= norm_tensors(w.scope(there), str(fields.get("norm", "layer")), d, here)
        for i, one in enumerate(layers):
            w.require(one.d == d, f"{self.layers}{i} has {one.d} features, expected {d}")
            w.require(one.output == layers[0].output, f"{self.layers}{i} has another output map")
            tensors |= {f"blocks.{i}.{key}": value for key, value in one.tensors.items()}
        sizes = {"d_input": inputs, "d_model": d, "d_output": classes}
        mixers = tuple(one.mixer for one in layers)
        both = {"mixers": mixers, "encoder_norm": bool(self.first_norm), **layers[0].output}
        return Parts({**sizes, **both, **fields}, tensors, layers)


EXAMPLE = Frame("s4_layers.")
# Of both the SSM and the S6 classifiers; a norm follows each residual, as the script says.
JACOBIAN = Frame("mapping_layers.", "input", "output", "post_norm")
JACOBIAN_NOTE = (
    "as the forward passes of jacobian-role-in-mamba-robustness have it, whatever its options say: "
    "pixels in [0, 1], and an image (3, H, W) as its view (H W, 3), nothing transposed"
)
