"""S5 checkpoints against what their own code computed, and against loops over time."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustssm.checkpoints import s5, s5_pytorch
from robustssm.errors import RejectedInputError, ShapeError, UsageError
from robustssm.file_formats import Contents
from robustssm.layers.mimo import GeneralMIMO
from robustssm.networks.foreign import Blueprint, SequenceModel
from tests.robustssm.checkpoints.foreign import Draw, c128, f64, sigmoid
from tests.robustssm.checkpoints.foreign import held as file_of
from tests.robustssm.checkpoints.stored import Stored, entry, error

H, P, L, CLASSES = 5, 3, 20, 4
# All that a file of S5 leaves open, as a user gives it.
SAID = {
    "activation_fn": "half_glu1",
    "prenorm": "true",
    "mode": "pool",
    "discretization": "zoh",
    "conj_sym": "true",
    "clip_eigs": "false",
}
LAYER = {key: SAID[key] for key in ("discretization", "conj_sym", "clip_eigs")}


def flax(stored: Stored) -> Contents:
    found = {k: v for k, v in stored.arrays.items() if k.startswith(("params/", "batch_stats/"))}
    return file_of({name: torch.from_numpy(value) for name, value in found.items()})


def network(imported: Any) -> SequenceModel:
    assert isinstance(imported.network, SequenceModel)
    return imported.network


@pytest.mark.parametrize("name", ["conjsym", "conjsym_bidir_blocks2", "noconj_bilinear"])
def test_layers_of_the_original(name: str) -> None:
    stored = entry(f"s5_ssm_{name}.npz")
    told = {
        **LAYER,
        "discretization": str(stored.config.get("discretization", "zoh")),
        "conj_sym": str(stored.config["conj_sym"]).lower(),
    }
    net = network(s5.build(flax(stored), told))
    u = torch.from_numpy(stored.arrays["input"])[None]
    # The tolerances that the reference values name.
    single = error(net(u)[0], stored.arrays["output"])
    line = f"{stored.path.name}: float32 {single[0]:.1e} ({single[1]:.1e})"
    assert single[1] < 1e-5, line
    double = error(net.double()(u.double())[0], stored.arrays["output_f64_recurrence"])
    line += f", float64 {double[0]:.1e} ({double[1]:.1e})"
    assert double[1] < 1e-9, line
    print(line)
    stepwise = net.ssm_layers()[0].recurrence(u.double())[0]
    assert error(stepwise, stored.arrays["output_f64_recurrence"])[1] < 1e-9


@pytest.mark.parametrize("name", ["gelu_ln_postnorm", "halfglu1_bn_prenorm"])
def test_classifiers_of_the_original(name: str) -> None:
    stored = entry(f"s5_classifier_{name}_io.npz")
    told = {**SAID, "prenorm": str(stored.config["prenorm"]).lower()}
    told["activation_fn"] = str(stored.config["activation"])
    net = network(s5.build(flax(stored), told))
    u = torch.from_numpy(stored.arrays["input"])
    found = error(net(u), stored.arrays["log_probs"])
    assert found[1] < 1e-5, f"{name}: {found[0]:.1e} ({found[1]:.1e})"
    assert error(net.encoder(u), stored.arrays["encoded"])[1] < 1e-5


@pytest.mark.parametrize("name", ["s5pt_s5", "s5pt_s5block_bidir"])
def test_the_port_to_torch(name: str) -> None:
    stored = entry(f"{name}.npz")
    held = {k[6:]: torch.from_numpy(v) for k, v in stored.arrays.items() if k.startswith("state/")}
    told = {"allow_unstable": "true"} if "block" in name else {}
    net = network(s5_pytorch.build(file_of(held), told))
    found = error(net(torch.from_numpy(stored.arrays["input"])), stored.arrays["output"])
    assert found[1] < 1e-5, f"{name}: {found[0]:.1e} ({found[1]:.1e})"


# --- the same layouts, made here, evaluated step by step in numpy -------------------------------


def flax_layer(draw: Draw, prefix: str, both: str = "") -> dict[str, Tensor]:
    """Tensors of an S5 layer; both: no backward scan, two readouts or one of twice the size."""
    held = {
        "Lambda_re": -torch.exp(0.5 * draw(P)),
        "Lambda_im": 3.0 * draw(P),
        "B": draw(P, H, 2),
        "D": draw(H),
        "log_step": 0.5 * draw(P, 1) - 2.0,
    }
    if both == "two":
        held |= {"C1": draw(H, P, 2), "C2": draw(H, P, 2)}
    else:
        held["C"] = draw(H, 2 * P if both else P, 2)
    return {prefix + key: value for key, value in held.items()}


def layer_output(
    t: Mapping[str, Tensor], u: np.ndarray, prefix: str, told: Mapping[str, str]
) -> np.ndarray:
    """An S5 layer on u (batch, L, H), a loop over time."""
    real = f64(t[f"{prefix}Lambda_re"])
    if told["clip_eigs"] == "true":
        real = np.minimum(real, -1e-4)
    if told.get("force_neg") == "true":
        real = -np.abs(real)
    A = real + 1j * f64(t[f"{prefix}Lambda_im"])
    dt = np.exp(f64(t[f"{prefix}log_step"])[:, 0]) * float(told.get("step_rescale", "1"))
    B = c128(t[f"{prefix}B"])
    if told["discretization"] == "zoh":
        Abar, Bbar = np.exp(A * dt), ((np.exp(A * dt) - 1) / A)[:, None] * B
    else:
        held = 1 / (1 - dt / 2 * A)
        Abar, Bbar = held * (1 + dt / 2 * A), (held * dt)[:, None] * B
    if f"{prefix}C1" in t:
        C = [c128(t[f"{prefix}C1"]), c128(t[f"{prefix}C2"])]
    else:
        C = np.split(c128(t[f"{prefix}C"]), c128(t[f"{prefix}C"]).shape[1] // P, axis=1)
    k = 2.0 if told["conj_sym"] == "true" else 1.0
    y = u * f64(t[f"{prefix}D"])
    for readout, order in zip(C, (range(L), range(L - 1, -1, -1)), strict=False):
        x = np.zeros((len(u), P), dtype=complex)
        for step in order:
            x = Abar * x + u[:, step] @ Bbar.T
            y[:, step] += k * (x @ readout.T).real
    return y


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def classifier(draw: Draw, activation: str, batch: bool, both: str = "") -> dict[str, Tensor]:
    held = {
        "params/encoder/encoder/kernel": draw(2, H),
        "params/encoder/encoder/bias": draw(H),
        "params/decoder/kernel": draw(H, CLASSES),
        "params/decoder/bias": draw(CLASSES),
    }
    gates = {"gelu": [], "full_glu": ["out1", "out2"]}.get(activation, ["out2"])
    for i in range(2):
        prefix = f"encoder/layers_{i}"
        held |= flax_layer(draw, f"params/{prefix}/seq/", both)
        for gate in gates:
            held[f"params/{prefix}/{gate}/kernel"] = 0.5 * draw(H, H)
            held[f"params/{prefix}/{gate}/bias"] = 0.1 * draw(H)
        held[f"params/{prefix}/norm/scale"] = 1 + 0.1 * draw(H)
        held[f"params/{prefix}/norm/bias"] = 0.1 * draw(H)
        if batch:
            held[f"batch_stats/{prefix}/norm/mean"] = 0.1 * draw(H)
            held[f"batch_stats/{prefix}/norm/var"] = torch.exp(0.1 * draw(H))
    return held


def normed(t: Mapping[str, Tensor], x: np.ndarray, prefix: str) -> np.ndarray:
    if f"batch_stats/{prefix}/mean" in t:
        mean, var = f64(t[f"batch_stats/{prefix}/mean"]), f64(t[f"batch_stats/{prefix}/var"])
        z = (x - mean) / np.sqrt(var + 1e-5)
    else:
        z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return z * f64(t[f"params/{prefix}/scale"]) + f64(t[f"params/{prefix}/bias"])


def dense(t: Mapping[str, Tensor], x: np.ndarray, name: str) -> np.ndarray:
    return x @ f64(t[f"params/{name}/kernel"]) + f64(t[f"params/{name}/bias"])


def features(t: Mapping[str, Tensor], u: np.ndarray, told: Mapping[str, str]) -> np.ndarray:
    """What comes out of the last layer, (batch, L, H)."""
    x = dense(t, u, "encoder/encoder")
    for i in range(2):
        prefix = f"encoder/layers_{i}"
        y = normed(t, x, f"{prefix}/norm") if told["prenorm"] == "true" else x
        y = layer_output(t, y, f"params/{prefix}/seq/", told)
        g, activation = gelu_tanh(y), told["activation_fn"]
        if activation == "half_glu1":
            g = g * sigmoid(dense(t, g, f"{prefix}/out2"))
        elif activation == "half_glu2":
            g = y * sigmoid(dense(t, g, f"{prefix}/out2"))
        elif activation == "full_glu":
            g = dense(t, g, f"{prefix}/out1") * sigmoid(dense(t, g, f"{prefix}/out2"))
        x = x + g
        x = x if told["prenorm"] == "true" else normed(t, x, f"{prefix}/norm")
    return x


def log_probabilities(
    t: Mapping[str, Tensor], u: np.ndarray, told: Mapping[str, str]
) -> np.ndarray:
    x = features(t, u, told)
    y = dense(t, x.mean(1) if told["mode"] == "pool" else x[:, -1], "decoder")
    return y - np.log(np.exp(y).sum(-1, keepdims=True))


@pytest.mark.parametrize("activation", ["gelu", "half_glu1", "half_glu2", "full_glu"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"prenorm": "false", "mode": "last"},
        {"discretization": "bilinear", "conj_sym": "false"},
        {"step_rescale": "2", "clip_eigs": "true"},
    ],
)
def test_a_classifier_against_loops(activation: str, batch: bool, other: dict[str, str]) -> None:
    held = classifier(Draw(3), activation, batch)
    told = {**SAID, "activation_fn": activation, **other}
    net = network(s5.build(file_of(held), told)).double()
    u = Draw(4)(3, L, 2).double()
    expected = log_probabilities(held, u.numpy(), told)
    # Both routes are float64; twenty steps, sums of a few terms.
    np.testing.assert_allclose(net(u).detach().numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("both", ["two", "one"])
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_both_directions_against_loops(both: str, discretization: str) -> None:
    held = flax_layer(Draw(5), "params/", both)
    told = {**LAYER, "discretization": discretization}
    net = network(s5.build(file_of(held), told)).double()
    u = Draw(6)(2, L, H).double()
    expected = layer_output(held, u.numpy(), "params/", told)
    np.testing.assert_allclose(net(u).detach().numpy(), expected, rtol=0, atol=1e-11)
    stepwise = net.ssm_layers()[0].recurrence(u).detach().numpy()
    np.testing.assert_allclose(stepwise, expected, rtol=0, atol=1e-11)


def test_the_port_is_the_original_with_both_halves() -> None:
    """2 Re over one of each pair is Re over both: the same numbers in the other layout."""
    held = flax_layer(Draw(7), "")
    A = torch.complex(held["Lambda_re"], held["Lambda_im"])
    B, C = (torch.view_as_complex(held[key]) for key in "BC")
    port = {
        "seq.Lambda": torch.cat([A, A.conj()]).resolve_conj(),
        "seq.B": torch.view_as_real(torch.cat([B, B.conj()]).resolve_conj().contiguous()),
        "seq.C": torch.cat([C, C.conj()], dim=1).resolve_conj(),
        "seq.D": held["D"],
        "seq.log_step": held["log_step"][:, 0].repeat(2),
    }
    u = Draw(8)(2, L, H).double()
    one = network(s5.build(file_of(held), LAYER)).double()(u)
    other = network(s5_pytorch.build(file_of(port), {})).double()(u)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)  # sums in another order
    layers = [
        network(s5.build(file_of(held), LAYER)),
        network(s5_pytorch.build(file_of(port), {})),
    ]
    assert [net.state_size for net in layers] == [2 * P, 2 * P]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), length=st.integers(1, 40), both=st.booleans())
def test_convolution_is_recurrence(seed: int, length: int, both: bool) -> None:
    layer = GeneralMIMO(H, n=P, bidirectional=both)
    draw = Draw(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(draw(*parameter.shape).double())
            if name == "dt":
                parameter.copy_(torch.exp(parameter - 2.0))
            if name == "A":
                parameter[:, 0] = -parameter[:, 0].abs() - 0.01
    u = draw(2, length, H).double()
    expected = layer.recurrence(u)
    scale = float(expected.detach().abs().max())
    # An FFT's rounding grows with the largest value.
    torch.testing.assert_close(layer(u), expected, rtol=0, atol=1e-12 * max(1.0, scale))


def test_lengths_reach_the_mean_only() -> None:
    """The original does not mask padding before its layers: only the mean leaves it out."""
    held = classifier(Draw(9), "half_glu1", False)
    net = network(s5.build(file_of(held), SAID)).double()
    u = Draw(10)(2, L, 2).double()
    short = net(u, torch.tensor([L, 7]))
    torch.testing.assert_close(short[:1], net(u)[:1])
    changed = u.clone()
    changed[1, 7:] = 5.0  # behind the end: a causal network cannot see it from before
    torch.testing.assert_close(net(changed, torch.tensor([L, 7])), short, rtol=0, atol=1e-12)


# --- what is wrong is named ---------------------------------------------------------------------


def test_all_that_is_missing_is_asked_for_at_once() -> None:
    held = file_of(classifier(Draw(0), "half_glu1", False), path=Path("x.msgpack"))
    with pytest.raises(UsageError) as caught:
        s5.build(held, {})
    text = str(caught.value)
    assert "\n" not in text
    for name in SAID:
        assert f"--set {name}=" in text
    taken = s5.build(held, {"defaults": "original", "mode": "last"})
    assert network(taken).blueprint.pooling == "last"
    assert sum("the original's default" in note for note in taken.notes) >= 5
    with pytest.raises(UsageError, match="unknown setting prenrom"):
        s5.build(held, {**SAID, "prenrom": "true"})
    with pytest.raises(UsageError, match="contradicts the file"):
        s5.build(held, {**SAID, "batchnorm": "true"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params/encoder/layers_0/seq/B": None}, "layers_0/seq/B is missing"),
        ({"params/more": torch.zeros(2)}, "unexpected params/more"),
        ({"params/decoder/bias": torch.zeros(3)}, r"decoder/bias has shape \[3\]"),
        ({"params/encoder/layers_1/seq/D": torch.full((H,), torch.nan)}, "holds NaN"),
        ({"params/encoder/layers_1/seq/Lambda_re": torch.full((P,), 0.5)}, "expected a stable"),
    ],
)
def test_tensors_that_do_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    held: dict[str, Any] = {**classifier(Draw(0), "half_glu1", False), **change}
    kept = {name: value for name, value in held.items() if value is not None}
    with pytest.raises(RejectedInputError, match=message) as caught:
        s5.build(file_of(kept), SAID)
    assert "\n" not in str(caught.value)


def test_growing_states_only_where_asked() -> None:
    held = classifier(Draw(0), "half_glu1", False)
    held["params/encoder/layers_0/seq/Lambda_re"] = torch.tensor([0.1, -0.5, 0.7])
    u, outputs = Draw(1)(2, L, 2).double(), []
    ways = [{"clip_eigs": "true"}, {"allow_unstable": "true"}, {"force_neg": "true"}]
    for told in (*ways, {"clip_eigs": "true", "force_neg": "true"}):
        own = {**SAID, **told}
        net = network(s5.build(file_of(held), own)).double()
        outputs.append(net(u).detach().numpy())
        expected = log_probabilities(held, u.numpy(), own)
        np.testing.assert_allclose(outputs[-1], expected, rtol=0, atol=1e-10)
    # Three different functions; what is clipped has no sign left that could be flipped.
    assert min(np.abs(outputs[i] - outputs[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
    assert np.array_equal(outputs[0], outputs[3])
    for told in (SAID, {**SAID, "force_neg": "false"}):
        with pytest.raises(RejectedInputError, match=r"2 entries .* give --set force_neg=true"):
            s5.build(file_of(held), told)
    with pytest.raises(UsageError, match="--set force_neg=true"):
        s5.build(file_of(held), {})
    with pytest.raises(UsageError) as caught:
        s5.build(file_of(classifier(Draw(0), "half_glu1", False)), {})
    assert "force_neg" not in str(caught.value)


def test_a_kernel_that_the_cosine_of_s5_ptd_made() -> None:
    """1024 rows for one channel: each sees the same input, so that their sum is the encoder."""
    held = classifier(Draw(0), "half_glu1", False)
    rows = 0.1 * Draw(12)(1024, H)
    held["params/encoder/encoder/kernel"] = rows
    with pytest.raises(UsageError, match=r"1024 rows.*--set d_input=1 .*--set d_input=1024 for"):
        s5.build(file_of(held), SAID)
    u = Draw(11)(2, L, 1).double()
    one = network(s5.build(file_of(held), {**SAID, "d_input": "1"})).double()(u)
    wide = network(s5.build(file_of(held), {**SAID, "d_input": "1024"})).double()
    torch.testing.assert_close(one, wide(u.expand(2, L, 1024)), rtol=0, atol=1e-5)


def retrieval(draw: Draw, batch: bool, classes: int = 2) -> dict[str, Tensor]:
    """A network of two documents; its head is small, that exp does not overflow."""
    held, width = classifier(draw, "half_glu1", batch), 7
    head = {"layer1/kernel": (4 * H, width), "layer1/bias": (width,)}
    head |= {"layer2/kernel": (width, classes), "layer2/bias": (classes,)}
    for name in ("kernel", "bias"):
        del held[f"params/decoder/{name}"]
    return held | {f"params/decoder/{key}": 0.02 * draw(*shape) for key, shape in head.items()}


@pytest.mark.parametrize("batch", [False, True])
def test_two_documents_against_loops(batch: bool) -> None:
    held = retrieval(Draw(13), batch)
    told = {key: value for key, value in SAID.items() if key != "mode"}
    imported = s5.build(file_of(held), told)
    assert any("two documents" in note for note in imported.notes)
    u = Draw(15)(3, 2 * L, 2).double()
    a, b = (features(held, part, SAID).mean(1) for part in np.split(u.numpy(), 2, axis=1))
    inner = dense(held, np.concatenate([a, b, a - b, a * b], axis=-1), "decoder/layer1")
    y = dense(held, gelu_tanh(inner), "decoder/layer2")
    expected = y - np.log(np.exp(y).sum(-1, keepdims=True))
    net = network(imported).double()
    np.testing.assert_allclose(net(u).detach().numpy(), expected, rtol=0, atol=1e-11)
    swapped = net(torch.cat(u.chunk(2, dim=1)[::-1], dim=1))
    assert float((swapped - net(u)).abs().max()) > 1e-3  # a - b has a sign
    with pytest.raises(ShapeError, match="expected two documents of equal length"):
        net(u[:, 1:])
    with pytest.raises(UsageError, match="mode=last contradicts the file"):
        s5.build(file_of(held), {**SAID, "mode": "last"})
    again = Blueprint.from_dict(net.to_dict())
    assert again == net.blueprint and again.pair == "compared"


def test_networks_of_others_are_named() -> None:
    """annotated-s4 has the names of S5's layers, one matrix per feature, under other places."""
    held = {
        "params/encoder/kernel": torch.zeros(1, H),
        "params/layers_0/seq/Lambda_re": -torch.ones(P, H),
        "params/layers_0/seq/Lambda_im": torch.ones(P, H),
    }
    with pytest.raises(
        RejectedInputError, match=r"srush/annotated-s4 .*name=module\.py:function"
    ) as e:
        s5.build(file_of(held), {})
    assert "lindermanlab" not in str(e.value)
    moved = {f"params/mine{key[6:]}": v for key, v in flax_layer(Draw(0), "params/").items()}
    with pytest.raises(RejectedInputError, match=r"a code base that is not known \(mine/Lambda_re"):
        s5.build(file_of(moved), {})
