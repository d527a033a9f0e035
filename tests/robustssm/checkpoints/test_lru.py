"""minimal-LRU against loops over time: what a file leaves open is asked for, and matters."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import lru
from robustssm.errors import RejectedInputError, UsageError
from robustssm.networks.foreign import SequenceModel
from tests.robustssm.checkpoints.foreign import Draw, f64, sigmoid
from tests.robustssm.checkpoints.foreign import held as file_of
from tests.robustssm.checkpoints.test_s5 import dense, gelu_tanh

H, P, L, CLASSES = 5, 4, 18, 3
SAID = {"norm": "layer", "prenorm": "true", "pooling": "mean"}


def built(held: Mapping[str, Tensor], told: Mapping[str, str]) -> SequenceModel:
    network = lru.build(file_of(dict(held)), told).network
    assert isinstance(network, SequenceModel)
    return network


def layer(draw: Draw, prefix: str) -> dict[str, Tensor]:
    """Moduli between 0.2 and 0.95, phases up to 2 pi, as the original draws them, and beyond."""
    shapes = {"B_re": (P, H), "B_im": (P, H), "C_re": (H, P), "C_im": (H, P), "D": (H,)}
    held = {name: draw(*shape) for name, shape in shapes.items()}
    held |= {"nu_log": draw(P) * 0.5 - 1.5, "theta_log": draw(P), "gamma_log": 0.5 * draw(P)}
    return {prefix + name: value for name, value in held.items()}


def layer_output(t: Mapping[str, Tensor], u: np.ndarray, prefix: str) -> np.ndarray:
    w = {name: f64(t[f"{prefix}{name}"]) for name in ("nu_log", "theta_log", "gamma_log", "D")}
    B, C = (f64(t[f"{prefix}{k}_re"]) + 1j * f64(t[f"{prefix}{k}_im"]) for k in "BC")
    lam = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    x, y = np.zeros((len(u), P), dtype=complex), np.zeros_like(u)
    for step in range(u.shape[1]):
        x = lam * x + np.exp(w["gamma_log"]) * (u[:, step] @ B.T)
        y[:, step] = (x @ C.T).real + w["D"] * u[:, step]
    return y


def classifier(draw: Draw, batch: bool) -> dict[str, Tensor]:
    held = {
        "params/encoder/encoder/kernel": draw(2, H),
        "params/encoder/encoder/bias": draw(H),
        "params/decoder/kernel": draw(H, CLASSES),
        "params/decoder/bias": draw(CLASSES),
    }
    for i in range(2):
        place = f"encoder/layers_{i}"
        held |= layer(draw, f"params/{place}/seq/")
        for gate in ("out1", "out2"):
            held[f"params/{place}/{gate}/kernel"] = 0.5 * draw(H, H)
            held[f"params/{place}/{gate}/bias"] = 0.1 * draw(H)
        held[f"params/{place}/normalization/scale"] = 1 + 0.1 * draw(H)
        held[f"params/{place}/normalization/bias"] = 0.1 * draw(H)
        if batch:
            held[f"batch_stats/{place}/normalization/mean"] = 0.1 * draw(H)
            held[f"batch_stats/{place}/normalization/var"] = torch.exp(0.1 * draw(H))
    return held


def normed(t: Mapping[str, Tensor], x: np.ndarray, place: str, batch: bool) -> np.ndarray:
    if batch:
        mean, var = (f64(t[f"batch_stats/{place}/{key}"]) for key in ("mean", "var"))
        z = (x - mean) / np.sqrt(var + 1e-5)
    else:
        z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return z * f64(t[f"params/{place}/scale"]) + f64(t[f"params/{place}/bias"])


def log_probabilities(
    t: Mapping[str, Tensor], u: np.ndarray, told: Mapping[str, str]
) -> np.ndarray:
    prenorm, batch = told["prenorm"] == "true", told["norm"] == "batch"
    x = dense(t, u, "encoder/encoder")
    for i in range(2):
        place = f"encoder/layers_{i}"
        y = normed(t, x, f"{place}/normalization", batch) if prenorm else x
        g = gelu_tanh(layer_output(t, y, f"params/{place}/seq/"))
        x = x + dense(t, g, f"{place}/out1") * sigmoid(dense(t, g, f"{place}/out2"))
        x = x if prenorm else normed(t, x, f"{place}/normalization", batch)
    pooled = {"mean": x.mean(1), "last": x[:, -1], "none": x}[told["pooling"]]
    y = dense(t, pooled, "decoder")
    return y - np.log(np.exp(y).sum(-1, keepdims=True))


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("prenorm", ["true", "false"])
@pytest.mark.parametrize("pooling", ["mean", "last", "none"])
def test_a_classifier_against_loops(norm: str, prenorm: str, pooling: str) -> None:
    told = {"norm": norm, "prenorm": prenorm, "pooling": pooling}
    held, u = classifier(Draw(1), norm == "batch"), Draw(2)(3, L, 2).double()
    expected = log_probabilities(held, u.numpy(), told)
    found = built(held, told).double()(u).detach().numpy()
    # Both routes are float64; some twenty steps, sums of a few terms.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    if norm == "batch":  # running statistics say which norm it is
        del told["norm"]
        assert np.array_equal(built(held, told).double()(u).detach().numpy(), found)
    for key, other in (("prenorm", {"true": "false", "false": "true"}[prenorm]),):
        wrong = built(held, {**told, key: other}).double()(u).detach().numpy()
        assert np.abs(wrong - expected).max() > 1e-2


def test_a_layer_against_loops_and_its_own_recurrence() -> None:
    held, u = layer(Draw(3), "params/"), Draw(4)(2, L, H).double()
    network = built(held, {}).double()
    expected = layer_output(held, u.numpy(), "params/")
    own = network.ssm_layers()[0]
    for found in (network(u), own.recurrence(u)):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-12)
    # Time is counted in samples: no step size is made up.
    assert torch.equal(own.step_size(), torch.ones(H, dtype=torch.float64))
    # gamma as the file has it, not as lambda would give it: its change is felt, that of nu's too.
    for name in ("gamma_log", "nu_log", "theta_log"):
        moved = {**held, f"params/{name}": held[f"params/{name}"] + 0.1}
        assert float((built(moved, {}).double()(u) - network(u)).abs().max()) > 1e-2


def test_what_is_missing_or_wrong_is_named() -> None:
    held = classifier(Draw(0), False)
    with pytest.raises(UsageError, match=r"norm=layer\|batch .*prenorm=.* pooling="):
        lru.build(file_of(held), {})
    with pytest.raises(RejectedInputError, match=r"batch_stats/.*mean is missing"):
        lru.build(file_of(held), {**SAID, "norm": "batch"})
    with pytest.raises(UsageError, match="norm=layer contradicts the file"):
        lru.build(file_of(classifier(Draw(0), True)), SAID)
    large = {**held, "params/encoder/layers_1/seq/nu_log": torch.full((P,), 1e4)}
    with pytest.raises(RejectedInputError, match="overflows, expected finite numbers"):
        lru.build(file_of(large, path=Path("x")), SAID)
    notes = lru.build(file_of(held), SAID).notes
    assert any("discrete time" in note for note in notes)
    assert any("multidim" in note for note in notes)
