"""Networks of other code bases, evaluated as their own options say.

A blueprint names everything that fixes the function apart from the weights: mixers, norms, where
they stand, activations, residuals, pooling. There is no dropout: such a network is evaluated, not
trained.

References: state-spaces/s4 (src/models/sequence/backbones, example.py), lindermanlab/S5
(s5/layers.py, s5/seq_model.py), i404788/s5-pytorch (s5/s5_model.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustssm.errors import ShapeError, UsageError, require, require_one_of
from robustssm.layers import SSMLayer
from robustssm.layers.by_length import Hope, Sobolev, check_steps
from robustssm.layers.diagonal import GeneralDiagonal, PairedDiagonal
from robustssm.layers.dplr import GeneralDPLR
from robustssm.layers.linoss import Oscillators
from robustssm.layers.mimo import GeneralMIMO
from robustssm.layers.selective import Mamba1, Mamba2, Selective
from robustssm.networks.classifier import BlockClassifier, decoded, pooled, steps_before
from robustssm.networks.foreign_parts import ACTIVATIONS, GEGLU, Norm, Output, Residual

KIND = "sequence-model"
MIXERS: dict[str, Callable[..., SSMLayer | Selective]] = {
    "diagonal": GeneralDiagonal,
    "paired": PairedDiagonal,
    "dplr": GeneralDPLR,
    "mimo": GeneralMIMO,
    "oscillators": Oscillators,
    "mamba": Mamba1,
    "mamba2": Mamba2,
    "hope": Hope,
    "sobolev": Sobolev,
}

_CHOICES = {
    "encoder": ("linear", "embedding", "none"),
    "norm": ("layer", "batch", "group", "instance", "transposed-layer", "rms", "none"),
    "residual": ("add", "none", "affine", "highway", "decay", "normalised"),
    "activation": tuple(ACTIVATIONS),
    "final_activation": tuple(ACTIVATIONS),
    "output": ("none", "linear", "glu", "half-glu1", "half-glu2", "full-glu"),
    "pooling": ("mean", "last", "first", "sum", "none"),
    "pair": ("none", "joined", "compared"),
    "head_activation": tuple(ACTIVATIONS),
}
# Fields that cards of earlier versions lack. A card has them where they are not the default, so
# that a network which needs none of them keeps its content hash.
_LATER = (
    "encoder_norm",
    "pair",
    "head_width",
    "head_activation",
    "decoder_bias",
    "mirrored",
    "pool_from",
)


@dataclass(frozen=True)
class Blueprint:
    """What fixes the function of a network from elsewhere, apart from its weights; plain data.

    source: the code base, as in `state-spaces/s4 v4`; mixers: options of each SSM layer (see
    `mixer`); d_output: classes (channels if there is no decoder).
    norm_eps: of layer, batch, group and RMS norm. residual `normalised` adds the normed input.
    output: what follows the activation g: nothing; linear; GLU of a linear map to 2 d; or S5's
    g sigmoid(W g), x sigmoid(W g), (V g) sigmoid(W g). feed_forward: s5-pytorch's second half of
    a block, norm and GEGLU. pooling `none`: one output per step. log_softmax: of the logits.
    final_activation: behind a linear output map. mask_padding: inputs of SSM layers behind a
    sample's end are zero. tokens: size of the vocabulary if the encoder is an embedding; then
    d_input is d_model, and the network takes what `embed` returns. encoder_norm: a norm stands
    between the encoder and the first block.
    pair: a sample is two documents of equal length, one behind the other, each pooled by itself, to
    a and b; the decoder takes what a head makes of [a, b] (`joined`: maps to head_width and half of
    it) or of [a, b, a - b, a b] (`compared`: one map), with head_activation behind each.
    mirrored: what the encoder gives is followed by itself, reversed in time. pool_from: steps that
    pooling leaves out at the start.
    """

    source: str
    d_input: int
    d_model: int
    d_output: int
    mixers: tuple[Mapping[str, object], ...]
    encoder: str = "linear"
    norm: str = "layer"
    norm_eps: float = 1e-5
    prenorm: bool = False
    final_norm: bool = False
    residual: str = "add"
    activation: str = "gelu"
    output: str = "glu"
    final_activation: str = "none"
    feed_forward: int = 0
    pooling: str = "mean"
    decoder: bool = True
    log_softmax: bool = False
    mask_padding: bool = False
    tokens: int = 0
    encoder_norm: bool = False
    pair: str = "none"
    head_width: int = 0
    head_activation: str = "relu"
    decoder_bias: bool = True
    mirrored: bool = False
    pool_from: int = 0

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            require_one_of(f"architecture: {key}", getattr(self, key), allowed)

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as they stand on a checkpoint's card."""
        content = asdict(self)
        for key in _LATER:
            if content[key] == getattr(Blueprint, key):
                del content[key]
        return {"kind": KIND, **content, "mixers": [dict(one) for one in self.mixers]}

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> "Blueprint":
        """Return the blueprint of a card; TypeError for fields that it does not have, or others."""
        options = {key: value for key, value in content.items() if key not in ("kind", "mixers")}
        mixers = content.get("mixers")
        if not isinstance(mixers, list) or not all(isinstance(one, dict) for one in mixers):
            raise TypeError("its mixers are no list of tables")
        kinds = {"source": str, "d_input": int, "d_model": int, "d_output": int}
        kinds |= {one.name: type(one.default) for one in fields(cls) if one.name not in kinds}
        for key, value in options.items():
            if type(value) is not kinds.get(key):
                raise TypeError(f"its architecture has {key} {value!r:.80}")
        made = cls(mixers=tuple(mixers), **options)  # type: ignore[arg-type]
        if min(made.feed_forward, made.tokens, made.head_width, made.pool_from) < 0 or (
            made.tokens > 0
        ) != (made.encoder == "embedding"):
            raise TypeError(f"its architecture has {made.tokens} tokens for {made.encoder}")
        return made

    def check_steps(self, L: int, shortest: int) -> None:
        """Raise UsageError unless the network takes samples of `shortest` to L steps."""
        by_length = any(one.get("kind") == "hope" for one in self.mixers)
        if shortest < L and (self.mirrored or by_length):
            raise UsageError(
                f"network: samples end after {shortest} to {L} steps, expected one length of all, "
                "on which its layers depend; cut the samples to that of the shortest"
            )
        if by_length and not self.mirrored:
            check_steps(L)
        steps, start = 2 * L if self.mirrored else shortest, self.pool_from
        fits = steps > start or not start
        require(fits, "network: number of steps", steps, f"above {start}, its pool_from")


def mixer(d: int, options: Mapping[str, object]) -> SSMLayer | Selective:
    """Return an SSM layer of d channels with parameters still to be loaded.

    options: `kind`, one of MIXERS, and what its class takes. Raises UsageError for other kinds.
    """
    kind = str(options.get("kind"))
    require_one_of("architecture: mixer", kind, MIXERS)
    return MIXERS[kind](d, **{key: value for key, value in options.items() if key != "kind"})


class SequenceBlock(nn.Module):
    """[norm] -> SSM -> activation and output -> residual -> [norm] -> [feed-forward]."""

    def __init__(self, blueprint: Blueprint, i: int) -> None:
        super().__init__()
        b = blueprint
        self.prenorm, self._normalised = b.prenorm, b.residual == "normalised"
        self._masks = b.mask_padding
        self.norm = Norm(b.norm, b.d_model, b.norm_eps)
        self.ssm = mixer(b.d_model, b.mixers[i])
        self.output = Output(b.d_model, self.ssm.d_out, b.output, b.activation, b.final_activation)
        self.residual = Residual(b.residual, b.d_model, i)
        self.feed_forward = (
            GEGLU(b.d_model, b.feed_forward, b.norm_eps) if b.feed_forward else nn.Identity()
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the output, x's shape; valid (batch, length, 1): steps before a sample's end."""
        y = self.norm(x) if self.prenorm else x
        inner = y * valid if self._masks and valid is not None else y
        z = self.residual(y if self._normalised else x, self.output(self.ssm(inner)))
        return self.feed_forward(z if self.prenorm else self.norm(z))


class SequenceModel(BlockClassifier):
    """A network from elsewhere on raw inputs (batch, length, d_input); returns logits.

    mean and std of the input are buffers, zero and one if the original had no normalisation of
    its own: then it expects what its data loader gave it.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        b = blueprint
        super().__init__(b.d_input, b.d_output, b.tokens or None)
        self.blueprint, self.either = b, b.pooling == "last"
        linear = b.encoder == "linear"
        self.encoder = nn.Linear(b.d_input, b.d_model) if linear else nn.Identity()
        if b.encoder == "embedding":
            self.embedding = nn.Embedding(b.tokens, b.d_model)
        self.encoder_norm = Norm(b.norm if b.encoder_norm else "none", b.d_model, b.norm_eps)
        self.blocks = nn.ModuleList(SequenceBlock(b, i) for i in range(len(b.mixers)))
        final = b.norm if b.final_norm else "none"
        self.final_norm = Norm(final, b.d_model, b.norm_eps)
        last = b.d_model
        if b.pair != "none":
            hidden = [b.head_width, b.head_width // 2][: 2 if b.pair == "joined" else 1]
            widths = [(2 if b.pair == "joined" else 4) * last, *hidden]
            self.head = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
            last = widths[-1]
        head = nn.Linear(last, b.d_output, bias=b.decoder_bias) if b.decoder else nn.Identity()
        self.decoder: nn.Module = head

    def to_dict(self) -> dict[str, object]:
        """Return the blueprint, as on a checkpoint's card."""
        return self.blueprint.to_dict()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, d_output), or (batch, length, d_output) without pooling.

        lengths: valid steps of each sample, (batch,); pooling leaves out what is behind them.
        """
        self.check_input(x)
        x = (x - self.mean) / self.std
        if self.blueprint.pair == "none":
            y = self._pooled(x, lengths)
        else:
            if lengths is not None or x.shape[1] % 2:
                raise ShapeError(
                    f"network: input has {x.shape[1]} steps{' and lengths' * (lengths is not None)}"
                    ", expected two documents of equal length, one behind the other, no lengths"
                )
            a, b = (self._pooled(half) for half in x.chunk(2, dim=1))
            y = torch.cat([a, b] if self.blueprint.pair == "joined" else [a, b, a - b, a * b], -1)
            for linear in self.head:
                y = ACTIVATIONS[self.blueprint.head_activation](linear(y))
        if isinstance(self.decoder, nn.Linear):
            y = decoded(self.decoder.weight, self.decoder.bias, y)
        return functional.log_softmax(y, dim=-1) if self.blueprint.log_softmax else y

    def _pooled(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the pooled features of standardised inputs."""
        b = self.blueprint
        b.check_steps(x.shape[1], x.shape[1] if lengths is None else int(lengths.min()))
        x = self.encoder_norm(self.encoder(x))
        if b.mirrored:
            x, lengths = torch.cat([x, x.flip(1)], dim=1), None
        valid = steps_before(lengths, x)
        valid = None if valid is None else valid[..., None]
        for block in self.blocks:
            x = block(x, valid)
        ends = None if lengths is None else lengths - b.pool_from
        pooling = "none" if self.every_step else b.pooling
        return pooled(self.final_norm(x)[:, b.pool_from :], ends, pooling)
