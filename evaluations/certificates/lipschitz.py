"""Lipschitz constants in L2 of what a network is made of, sequences of L steps as one vector.

GLU, b logistic(g), has no constant: its slope in g grows with |b|. Where a LayerNorm bounds the
block's input, b is bounded too, by the kernel's l1 norms, and the slope with it. LayerNorm has
max |gamma| / sqrt(eps), which holds and is of no use where eps = 1e-5. BatchNorm in evaluation is
affine.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError, require
from robustssm.evaluations.certificates.time_operators import TimeOperator, time_operator
from robustssm.layers import DSS, S4, S4D, S5, SSMLayer
from robustssm.networks.network import Block, Network, Normalisation

# GELU' = Phi(z) + z p(z) is largest at z = sqrt 2, where GELU'' = (2 - z^2) p(z) = 0.
GELU_LIPSCHITZ = 0.5 * (1.0 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi)
# min over z of GELU(z) is -0.16997.
GELU_LEAST = 0.17
FAMILIES = (S4, S4D, DSS, S5)


@dataclass(frozen=True)
class Component:
    """A part of a network: block (-1 outside), name, constant in L2 (infinite: none), and why."""

    block: int
    part: str
    constant: float
    note: str

    @property
    def name(self) -> str:
        """`block 0 glu`, or `encoder`."""
        return self.part if self.block < 0 else f"block {self.block} {self.part}"


def check(network: Network) -> None:
    """Raise UsageError, which names the part, for what the certificates do not know."""
    if type(network) is not Network:
        raise UsageError(
            f"certificate: the model is a {type(network).__name__}, expected a robustssm Network"
        )
    for number, block in enumerate(network.blocks):
        part = block.ssm if type(block) is Block else block
        ways = part.one_way() if isinstance(part, SSMLayer) else (part,)
        if not {type(way) for way in ways} <= set(FAMILIES):
            raise UsageError(
                f"certificate: block {number} is a {type(part).__name__}, expected an SSM layer "
                "S4, S4D, DSS or S5 followed by GELU and GLU"
            )


def normalisation(part: nn.Module) -> nn.LayerNorm | nn.BatchNorm1d:
    """Return the torch module inside a Normalisation."""
    assert isinstance(part, Normalisation) and isinstance(part.norm, nn.LayerNorm | nn.BatchNorm1d)
    return part.norm


def batch_scale(norm: nn.BatchNorm1d) -> Tensor:
    """Return the slope of BatchNorm in evaluation, (d,)."""
    assert norm.running_var is not None
    return norm.weight / torch.sqrt(norm.running_var + norm.eps)


def double_copy(network: Network) -> Network:
    """Return a float64 copy in evaluation whose parameters want no gradient."""
    return copy.deepcopy(network).double().eval().requires_grad_(False)


def _norm_component(block: int, part: nn.Module) -> Component:
    norm = normalisation(part)
    if isinstance(norm, nn.LayerNorm):
        constant = float(norm.weight.abs().max()) / math.sqrt(norm.eps)
        return Component(block, "norm", constant, "max |gamma| / sqrt(eps), of no practical use")
    return Component(block, "norm", float(batch_scale(norm).abs().max()), "affine in evaluation")


def _input_bound(network: Network, number: int) -> Tensor | None:
    """Return bounds (d,) of the input of a block's SSM layer, None if nothing bounds it."""
    a = network.architecture
    if a.norm != "layer" or (not a.prenorm and number == 0):
        return None
    source = network.blocks[number if a.prenorm else number - 1]
    assert isinstance(source, Block)
    norm = normalisation(source.norm)
    # Of d centred numbers with mean square at most 1 none exceeds sqrt(d - 1).
    return norm.weight.abs() * math.sqrt(a.d_model - 1) + norm.bias.abs()


def _glu_component(network: Network, number: int, operator: TimeOperator) -> Component:
    block = network.blocks[number]
    assert isinstance(block, Block)
    bound = _input_bound(network, number)
    if bound is None:
        note = "b logistic(g): the slope in g grows with |b|, and nothing bounds b here"
        return Component(number, "glu", math.inf, note)
    activation = operator.peaks(bound).clamp(min=GELU_LEAST)
    d = network.architecture.d_model
    b = block.output.weight[:d].abs() @ activation + block.output.bias[:d].abs()
    # |logistic| < 1 and logistic' <= 1/4.
    constant = float(torch.sqrt(1.0 + (0.25 * b) ** 2).max())
    return Component(number, "glu", constant, "|b| bounded through the LayerNorm before the SSM")


@torch.no_grad()
def lipschitz_table(network: Network, L: int) -> list[Component]:
    """Return the L2 Lipschitz constants of the network's parts for sequences of L steps, in order.

    encoder: with the input's normalisation, per unit of raw input. ssm: an upper bound of the
    operator norm on L steps. decoder: spectral norm. The network is read, not changed.
    Raises UsageError for a network or block of another kind, or L < 1.
    """
    check(network)
    require(L >= 1, "certificate: length", L, "at least 1")
    twin, a = double_copy(network), network.architecture
    encoder = float(torch.linalg.matrix_norm(twin.input_weight / twin.std, 2))
    table = [Component(-1, "encoder", encoder, "spectral norm, input normalisation included")]
    for number, block in enumerate(twin.blocks):
        assert isinstance(block, Block)
        operator = time_operator(block.ssm, L)
        linear = float(torch.linalg.matrix_norm(block.output.weight, 2))
        parts = [
            Component(number, "ssm", operator.norm, f"operator norm on {L} steps"),
            Component(number, "gelu", GELU_LIPSCHITZ, "sup of its slope, at sqrt 2"),
            Component(number, "linear", linear, "spectral norm"),
            _glu_component(twin, number, operator),
        ]
        norm = _norm_component(number, block.norm)
        table += [norm, *parts] if a.prenorm else [*parts, norm]
    if a.prenorm:
        table.append(_norm_component(-1, twin.final_norm))
    pooling = 1.0 / math.sqrt(L) if a.pooling == "mean" else 1.0
    table.append(Component(-1, "pooling", pooling, f"{a.pooling} of {L} steps"))
    decoder = float(torch.linalg.matrix_norm(twin.decoder.weight, 2))
    table.append(Component(-1, "decoder", decoder, "spectral norm"))
    return table


def features_constant(network: Network, L: int) -> float:
    """Return the constant from raw input to pooled features; UsageError names a part without."""
    table = lipschitz_table(network, L)
    for part in table:
        if math.isinf(part.constant):
            raise UsageError(
                f"certificate: {part.name} has no global Lipschitz constant ({part.note}); take "
                "the local bound"
            )
    a = network.architecture
    result = 1.0
    for number in range(a.layers):
        constants = {part.part: part.constant for part in table if part.block == number}
        norm = constants.pop("norm")
        inner = math.prod(constants.values()) * (norm if a.prenorm else 1.0)
        inner = 1.0 + inner if a.residual else inner
        result *= inner * (1.0 if a.prenorm else norm)
    return result * math.prod(p.constant for p in table if p.block < 0 and p.part != "decoder")


def certificate_notes(network: Network, L: int) -> list[str]:
    """Return a line for each part without a useful global constant, and what is used instead."""
    lines = []
    for part in lipschitz_table(network, L):
        if part.part == "glu":
            local = "its second derivatives on the interval that its two inputs can reach"
        elif part.part == "norm" and "gamma" in part.note:
            local = "its second derivative at the least variance within reach"
        else:
            continue
        none = math.isinf(part.constant)
        constant = "no global constant" if none else f"global constant {part.constant:.3g}"
        lines.append(f"{part.name}: {constant}, {part.note}; locally {local}")
    return lines
