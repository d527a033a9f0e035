"""The original DSS: against its own outputs, and against its sums written out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import dss, state_spaces
from robustssm.errors import RejectedInputError, UsageError
from robustssm.networks.foreign import SequenceModel
from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    L,
    N,
    c128,
    convolved,
    f64,
    gelu,
    held,
)
from tests.robustssm.checkpoints.stored import compare, entry, error, inputs, tensors


@pytest.mark.parametrize("version", ["exp", "softmax"])
@torch.no_grad()
def test_layers_give_the_outputs_of_the_original(version: str) -> None:
    stored = entry(f"dss_{version}.npz")
    contents = tensors(stored)
    assert dss.recognises(contents)
    assert not state_spaces.recognises(contents)
    network = dss.build(contents, {"version": version}).network
    assert isinstance(network, SequenceModel)
    kernels = network.ssm_layers()[0].kernels(inputs(stored).shape[1])  # type: ignore[operator]
    # The reference casts its kernel to float32 in every precision.
    assert error(kernels, stored.arrays["kernel"])[1] < 5e-6
    print(compare(network, stored, exact=5e-6))


def layer(version: str, channels: int, both: bool, two_steps: bool) -> dict[str, Tensor]:
    draw = Draw(len(version))
    t = {
        "D": draw(channels, D),
        "kernel.log_dt": (draw(D, 2) if two_steps else draw(D)) * 0.5 - 2,
        "kernel.W": draw((2 if both else 1) * channels, D, N, 2),
        "output_linear.weight": draw(D, D * channels) * 0.4,
        "output_linear.bias": draw(D, 1) * 0.1,
    }
    if version.startswith("exp"):
        t["kernel.Lambda_log_neg_re"] = draw(N) * 0.3
        im = "Lambda_log_im" if version == "exp-re-im" else "Lambda_im"
        t[f"kernel.{im}"] = draw(N)
    else:
        t["kernel.Lambda"] = draw(N, 2)
    return t


def kernel(t: dict[str, Tensor], version: str) -> FloatArray:
    """The kernel by its sums, each row of `softmax` divided by the sum over its samples."""
    if "kernel.Lambda" in t:
        Lambda = c128(t["kernel.Lambda"])
        if version.startswith("clip"):
            Lambda = np.minimum(Lambda.real, 1e-4) + 1j * Lambda.imag
    else:
        im = f64(t.get("kernel.Lambda_im", torch.zeros(N)))
        if version == "exp-re-im":
            im = np.exp(f64(t["kernel.Lambda_log_im"]))
        Lambda = -np.exp(f64(t["kernel.Lambda_log_neg_re"])) + 1j * im
    dt = np.exp(f64(t["kernel.log_dt"])).reshape(D, -1)
    z = dt[:, :1] * Lambda.real + 1j * dt[:, -1:] * Lambda.imag
    powers = np.exp(z[:, :, None] * np.arange(L))
    if version == "softmax":
        weight = 1 / (Lambda * powers.sum(-1))
    elif version.endswith("no-scale"):
        weight = np.ones_like(z)
    else:
        weight = (np.exp(z) - 1) / Lambda
    W = c128(t["kernel.W"])
    return np.einsum("chn,hn,hnl->chl", W, weight, powers).real


VERSIONS = ("softmax", "exp", "exp-no-scale", "exp-re-im", "clip", "clip-no-scale")


@pytest.mark.parametrize(("channels", "both", "two_steps"), [(1, False, True), (2, True, False)])
@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_versions(version: str, channels: int, both: bool, two_steps: bool) -> None:
    t = layer(version, channels, both, two_steps)
    settings = {} if version == "exp-re-im" else {"version": version}
    if version.startswith("clip"):
        settings["allow_unstable"] = "true"
    network = dss.build(held(t), settings).network.double()
    u = torch.randn(2, L, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = gelu(convolved(u.numpy(), kernel(t, version), f64(t["D"]), both))
    expected = y @ f64(t["output_linear.weight"]).T + f64(t["output_linear.bias"])[:, 0]
    # The reciprocal of softmax adds 1e-7 to a squared modulus above 1e-2; the rest is rounding.
    tolerance = 2e-5 if version == "softmax" else 1e-11
    np.testing.assert_allclose(
        network(u).numpy(), expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )


def test_errors() -> None:
    t = layer("clip", 1, False, True)
    with pytest.raises(UsageError, match=r"--set version=softmax\|clip\|clip-no-scale"):
        dss.build(held(t), {})
    with pytest.raises(RejectedInputError, match="unstable"):
        dss.build(held(t), {"version": "clip"})
    with pytest.raises(RejectedInputError, match=r"kernel\.log_dt is missing"):
        dss.build(
            held({k: v for k, v in t.items() if k != "kernel.log_dt"}), {"version": "softmax"}
        )
    with pytest.raises(RejectedInputError, match="unexpected extra"):
        dss.build(held({**t, "extra": torch.zeros(1)}), {"version": "softmax"})
