"""Options of state-spaces/s4 that a file leaves out: each version has its own defaults."""

import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import state_spaces
from robustssm.errors import RejectedInputError
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    N,
    held,
    output,
)
from tests.robustssm.checkpoints.kernels import (
    v4_diagonal,
)


def within(layer: dict[str, object], tensors: dict[str, Tensor]) -> dict[str, object]:
    """Return the options of the mixer and the output of one block, as a file's options fix them."""
    config: dict[str, object] = {
        "model": {"layer": {"_name_": "s4", **layer}, "prenorm": False, "n_layers": 1},
    }
    named = {f"model.layers.0.layer.{key}": value for key, value in tensors.items()}
    network = state_spaces.build(held(named, config), {}).network
    fields = network.to_dict()
    mixers = fields["mixers"]
    assert isinstance(mixers, list)
    return {**fields, **mixers[0]}


def test_what_a_file_leaves_out_has_its_version_s_default() -> None:
    """v3 diagonal kernels are bilinear, those of v4 zoh; v2 has no GLU, later versions have."""
    draw = Draw(1)
    v4 = v4_diagonal(D, 1, False)
    assert within({"mode": "diag"}, v4)["discretization"] == "zoh"
    assert within({"mode": "diag", "disc": "bilinear"}, v4)["discretization"] == "bilinear"
    p = "kernel.kernel."
    old = {
        "D": draw(1, D),
        f"{p}log_dt": draw(D),
        f"{p}C": draw(1, D, N, 2),
        f"{p}B": draw(1, N, 2),
        f"{p}inv_A_real": draw(1, N),
        f"{p}A_imag": draw(1, N),
    }
    v3 = within({"mode": "diag", "l_max": 7}, {**old, **output(draw, 1)})
    assert (v3["discretization"], v3["output"], v3["l_max"]) == ("bilinear", "glu", 7)
    nodes = torch.polar(torch.ones(5), -2 * torch.pi * torch.arange(5) / 8)
    v2 = {key: old[key] for key in ("D", f"{p}log_dt", f"{p}C")} | {
        f"{p}B": draw(1, 1, N, 2),
        f"{p}P": draw(1, 1, N, 2),
        f"{p}log_w_real": draw(1, N),
        f"{p}w_imag": draw(1, N),
        f"{p}omega": torch.view_as_real(nodes),
        "output_linear.weight": draw(D, D),
        "output_linear.bias": draw(D, 1),
    }
    found = within({"l_max": 8, "hurwitz": True}, v2)
    # v2 lengthens its kernel where an input is longer than l_max.
    assert (found["output"], found["final_activation"], found["l_max"]) == ("linear", "none", None)


def test_v2_nodes_tell_the_length() -> None:
    draw, p = Draw(1), "kernel.kernel."
    odd = torch.polar(torch.ones(5), -2 * torch.pi * torch.arange(5) / 9)
    t = {
        "D": draw(1, D),
        f"{p}log_dt": draw(D),
        f"{p}C": draw(1, D, N, 2),
        f"{p}B": draw(1, 1, N, 2),
        f"{p}P": draw(1, 1, N, 2),
        f"{p}log_w_real": draw(1, N),
        f"{p}w_imag": draw(1, N),
        f"{p}omega": torch.view_as_real(odd),
    }
    with pytest.raises(RejectedInputError, match="omega has 5 nodes of length 9"):
        state_spaces.build(held(t), {})
