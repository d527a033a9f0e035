"""Networks and layers of state-spaces/s4 against what its own code made of them."""

from pathlib import Path

import pytest
import torch

from robustssm.checkpoints import state_spaces
from robustssm.file_formats import Contents, read_contents
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.networks import built
from tests.robustssm.checkpoints.stored import (
    compare,
    compare_blocks,
    entry,
    error,
    inputs,
    tensors,
)

LIGHTNING = (
    "pl_s4_dplr_bidir_postnorm_layer",
    "pl_s4_dplr_prenorm_batch_lmax",
    "pl_s4d_diaglegs_exp_prenorm_layer_rgb",
    "pl_s4d_diaglin_postnorm_batch",
    "pl_s4d_minimal",
    "v2_s4_nplr_legs_hurwitz",
    "v3_s4_nplr_legs",
    "v3_s4d_diaglin",
)
LAYERS = (
    "s4_diag_inv_bilinear",
    "s4_diag_legs",
    "s4_diag_legs_dss",
    "s4_diag_lin",
    "s4_diag_lin_bandlimit_rate2",
    "s4_diag_lin_bidir",
    "s4_dplr_legs",
    "s4_dplr_legs_bidir_nssm1_softplus_lmax",
    "s4_dplr_legs_longer_than_lmax",
    "s4d_minimal",
    "s4d_minimal_jittered_notransposed",
)


def read(path: Path) -> Contents:
    if not path.is_file():
        pytest.skip(f"reference checkpoint {path.name} is not beside this checkout")
    return read_contents(path)


@pytest.mark.parametrize("name", LIGHTNING)
def test_lightning_checkpoints_give_the_logits_of_the_original(name: str) -> None:
    contents, stored = read(GOLDEN / f"{name}.ckpt"), entry(f"{name}_io.npz")
    assert state_spaces.recognises(contents)
    compare_blocks(built(contents), stored)
    network = built(contents)
    print(compare(network, stored))
    for i, layer in enumerate(network.ssm_layers()):
        if f"kernel/{i}" in stored.arrays:
            kernels = layer.kernels(inputs(stored).shape[1])  # type: ignore[operator]
            # The reference's kernels are float32 sums of 16 modes.
            assert error(kernels, stored.arrays[f"kernel/{i}"])[1] < 5e-6


@pytest.mark.parametrize("norm", ["prenorm", "postnorm"])
def test_example_gives_the_logits_of_the_original(norm: str) -> None:
    contents = read(GOLDEN / f"example_s4model_{norm}.pth")
    stored = entry(f"example_s4model_{norm}_io.npz")
    settings = {"script": "example.py", "prenorm": str(norm == "prenorm").lower()}
    print(compare(built(contents, settings), stored))


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_layers_give_the_outputs_of_the_original(name: str) -> None:
    stored = entry(f"{name}.npz")
    config = stored.config
    arguments = config["args"]
    assert isinstance(arguments, dict)
    settings: dict[str, str] = {}
    if "minimal" not in name:
        settings["dt_transform"] = arguments.get("dt_transform", "exp")
        for key in ("real_transform", "l_max", "bandlimit"):
            if key in arguments:
                settings[key] = str(arguments[key])
        if arguments.get("mode") == "diag":
            settings |= {"disc": arguments.get("disc", "zoh"), "rate": str(config["rate"])}
    # disc=dss: the reference casts its kernel to float32 whatever the precision.
    exact = 5e-6 if name.endswith("dss") else 1e-9
    network = built(tensors(stored), settings)
    u = inputs(stored)
    layer = network.ssm_layers()[0]
    kernel = stored.arrays.get("kernel_f64", stored.arrays["kernel"])
    kernels = layer.kernels(u.shape[1]).reshape(kernel.shape)  # type: ignore[operator]
    assert error(kernels, kernel)[1] < exact
    print(compare(network, stored, exact))
    if "step_output" in stored.arrays:
        steps = stored.arrays["step_output"]
        output = network.blocks[0].output
        assert isinstance(output, torch.nn.Module)
        y = output(layer.recurrence(u[:, : steps.shape[1]].double()))
        # Steps of the reference are float32.
        assert error(y, steps)[1] < 1e-5
    before = tensors(stored, "state_before_first_forward/")
    if before.tensors:
        # C before the first pass, C~ after it: one kernel, but for float32 rounding of C~, which
        # recovering C amplifies by the largest 1 / |1 - Abar^L|.
        fresh = built(before, settings).double()(u.double())
        used = built(tensors(stored), settings).double()(u.double())
        assert error(fresh, used.numpy())[1] < 1e-5
