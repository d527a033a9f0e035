"""The stored tensors of a network by what they do: A, B, C, D, dt, mixing and norms.

A group is what the file of weights holds, not what acts: A of S4D is log(-Re lambda) and Im lambda.
docs/checkpoints.md has the table of what each group is for each family of layers.
"""

from torch import nn

# The last part of a tensor's name, or the one before it -> its group; all else mixes channels.
_NAMES = {
    **dict.fromkeys(("log_neg_real", "imag", "A", "Lambda", "P", "Q", "divisor"), "A"),
    **dict.fromkeys(("log_phase", "A_diag", "G_diag", "G", "A_log"), "A"),
    **dict.fromkeys(("B", "log_gamma"), "B"),
    **dict.fromkeys(("C", "H"), "C"),
    **dict.fromkeys(("D", "s"), "D"),
    **dict.fromkeys(("log_dt", "dt", "step_logit", "dt_proj", "dt_bias"), "dt"),
}
GROUPS = ("all", "A", "B", "C", "D", "dt", "mixing", "norms")


def group_of(name: str) -> str:
    """Return the group of a tensor by its name in the network, as in `blocks.0.ssm.log_dt`."""
    parts = name.split(".")
    if any("norm" in part for part in parts):
        return "norms"
    return next((_NAMES[part] for part in parts[:-3:-1] if part in _NAMES), "mixing")


def weights(network: nn.Module, group: str = "all") -> dict[str, nn.Parameter]:
    """Return the parameters of a group that hold numbers, by name; empty if there are none."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if group in ("all", group_of(name)) and parameter.numel()
    }


def groups_of(network: nn.Module) -> tuple[str, ...]:
    """Return the groups of which a network has tensors."""
    return tuple(group for group in GROUPS if weights(network, group))
