"""SSM classifiers of jacobian-role-in-mamba-robustness: blocks without an activation, norm first.

The published file and what its code computed, where they lie beside the checkout.
"""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import robustssm
from robustssm.checkpoints import state_spaces
from robustssm.errors import RejectedInputError
from robustssm.networks.foreign import SequenceModel
from robustssm.typing import FloatArray
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    N,
    bilinear,
    c128,
    convolved,
    dense_dplr,
    dense_kernel,
    f64,
    full,
    held,
)
from tests.robustssm.checkpoints.networks import normed

PUBLISHED = GOLDEN.parent / "golden2" / "jr_ssm_cifar10_none.pt"


def weights(length: int, classes: int, layers: int = 2) -> dict[str, Tensor]:
    draw = Draw(length)
    t = {
        **{"input.weight": draw(D, 3), "input.bias": draw(D)},
        **{"output.weight": draw(classes, D), "output.bias": draw(classes)},
        **{"post_norm.weight": draw(D), "post_norm.bias": draw(D)},
    }
    for i in range(layers):
        p = f"mapping_layers.{i}."
        t |= {f"norms.{i}.weight": draw(D), f"norms.{i}.bias": draw(D)}
        t |= {f"{p}D": draw(1, D), f"{p}kernel.kernel.log_dt": draw(D) * 0.5 - 2}
        t |= {f"{p}kernel.kernel.C": draw(1, D, N, 2), f"{p}kernel.kernel.B": draw(1, 1, N, 2)}
        t |= {f"{p}kernel.kernel.P": draw(1, 1, N, 2), f"{p}kernel.kernel.w_imag": draw(1, N) * 3}
        t |= {f"{p}kernel.kernel.log_w_real": draw(1, N) * 0.3}
        t |= {f"{p}kernel.kernel.L": torch.tensor(length)}
        t |= {f"{p}output_linear.weight": draw(D, D), f"{p}output_linear.bias": draw(D)}
    return t


def mixed(t: Mapping[str, Tensor], p: str, x: FloatArray) -> FloatArray:
    """W (K * x + D x) + b, K the plain products C Abar^l Bbar with C solved from the stored C~."""
    k = f"{p}kernel.kernel."
    w = -np.exp(f64(t[f"{k}log_w_real"])[0]) + 1j * f64(t[f"{k}w_imag"])[0]
    P, B = c128(t[f"{k}P"])[:, 0], c128(t[f"{k}B"])[0, 0]
    K = []
    for h in range(D):
        dt = float(np.exp(f64(t[f"{k}log_dt"])[h]))
        A, Bbar = bilinear(dense_dplr(w, P, P.conj()), full(B), dt)
        power = np.linalg.matrix_power(A, int(t[f"{k}L"]))
        C = np.linalg.solve((np.eye(2 * N) - power).T, full(c128(t[f"{k}C"])[0, h]))
        K.append(dense_kernel(A[None], Bbar[None], C[None, None], x.shape[1])[:, 0])
    y = convolved(x, np.stack(K, axis=1), f64(t[f"{p}D"]), False)
    return y @ f64(t[f"{p}output_linear.weight"]).T + f64(t[f"{p}output_linear.bias"])


def naive(t: Mapping[str, Tensor], u: FloatArray, layers: int = 2) -> FloatArray:
    tensors = dict(t)
    x = u @ f64(t["input.weight"]).T + f64(t["input.bias"])
    x = normed(tensors, "layer", "post_norm.", x)
    for i in range(layers):
        x = normed(tensors, "layer", f"norms.{i}.", x + mixed(t, f"mapping_layers.{i}.", x))
    return x.mean(1) @ f64(t["output.weight"]).T + f64(t["output.bias"])


@pytest.mark.parametrize(("length", "classes", "steps"), [(32, 10, 32), (16, 50, 24), (64, 3, 20)])
@torch.no_grad()
def test_blocks_are_linear_but_for_their_norms(length: int, classes: int, steps: int) -> None:
    """Inputs as long as the kernel that was used, longer, and shorter."""
    t = weights(length, classes)
    imported = state_spaces.build(held(t), {})
    u = torch.rand(2, steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = imported.network.double()(u).numpy()
    expected = naive(t, u.numpy())
    # Linear maps were rounded to float32 and are theirs, so only float64 rounding is left.
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()
    assert "activation none" in imported.reading and "pixels in [0, 1]" in imported.notes[0]
    assert isinstance(imported.network, SequenceModel)
    assert imported.network.ssm_layers()[0].order == 2 * N


def test_what_is_left_over_or_missing_is_named() -> None:
    t = weights(32, 10)
    with pytest.raises(RejectedInputError, match=r"unexpected adss\.weight"):
        state_spaces.build(held({**t, "adss.weight": torch.ones(1)}), {})
    del t["post_norm.bias"]
    with pytest.raises(RejectedInputError, match=r"post_norm\.bias is missing"):
        state_spaces.build(held(t), {})


@torch.no_grad()
def test_the_published_network() -> None:
    """1e-9 in float64; in float32 the original itself is off by 5e-5, this one is not."""
    io = PUBLISHED.with_name(f"{PUBLISHED.stem}_io.npz")
    if not io.is_file():
        pytest.skip("the published file is not beside this checkout")
    with np.load(io) as file:
        x, exact = torch.from_numpy(file["input"]), file["logits_f64"]
    network = robustssm.load(PUBLISHED).network
    single = np.abs(network(x).numpy() - exact).max() / np.abs(exact).max()
    double = np.abs(network.double()(x.double()).numpy() - exact).max() / np.abs(exact).max()
    print(f"{PUBLISHED.name}: float32 {single:.1e}, float64 {double:.1e}")
    assert single < 1e-5
    assert double < 1e-9
