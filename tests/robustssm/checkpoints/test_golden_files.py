"""Every reference checkpoint, as a user loads it, gives what its own code computed."""

import numpy as np
import pytest
import torch

import robustssm
from tests.reference import GOLDEN

S5 = {"defaults": "original"}
EXAMPLE = {"script": "example.py"}
FILES: dict[str, tuple[str, dict[str, object]]] = {
    "example_s4model_prenorm.pth": ("example_s4model_prenorm", {**EXAMPLE, "prenorm": True}),
    "example_s4model_postnorm.pth": ("example_s4model_postnorm", {**EXAMPLE, "prenorm": False}),
    **{
        f"{name}.ckpt": (name, {})
        for name in (
            "pl_s4_dplr_bidir_postnorm_layer",
            "pl_s4_dplr_prenorm_batch_lmax",
            "pl_s4d_diaglegs_exp_prenorm_layer_rgb",
            "pl_s4d_diaglin_postnorm_batch",
            "pl_s4d_minimal",
            "v2_s4_nplr_legs_hurwitz",
            "v3_s4_nplr_legs",
            "v3_s4d_diaglin",
        )
    },
    "s5_classifier_gelu_ln_postnorm.checkpoint_7": (
        "s5_classifier_gelu_ln_postnorm",
        {**S5, "prenorm": False},
    ),
    **{
        f"s5_classifier_halfglu1_bn_prenorm.{kind}": ("s5_classifier_halfglu1_bn_prenorm", dict(S5))
        for kind in ("checkpoint_7", "variables.msgpack", "orbax")
    },
    "s5pt_s5.pt": ("s5pt_s5", {}),
    "s5pt_s5block_bidir.pt": ("s5pt_s5block_bidir", {"allow_unstable": True}),
    "mamba_tiny": ("mamba_tiny", {}),
}

# Of the second set, whose settings stand in a file beside each.
SECOND = GOLDEN.with_name("golden2")
OF_SECOND = (
    "s5ptd_forceneg_bn_prenorm.variables.msgpack",
    "s5ptd_forceneg_bn_prenorm.checkpoint_4",
    "lru_bn_prenorm_mean.variables.msgpack",
    "lru_ln_postnorm_last.variables.msgpack",
)


# Files of the second set, with what they do not say beside them.
GOLDEN2 = GOLDEN.parent / "golden2"
FILES2 = (
    "hope_noisycifar_hope_postnorm.pth",
    "hope_noisycifar_s4d_postnorm.pth",
    "hope_run_cifar_prenorm.pth",
    "pl_freqbias_cifar_postnorm_layer.ckpt",
    "pl_ptd_cifar_postnorm_layer.ckpt",
    "pl_ptd_imdb_prenorm_batch.ckpt",
    "ptd_ablation_postnorm.pth",
    "ptd_robustness_postnorm.pth",
)


@pytest.mark.parametrize("name", FILES2)
@torch.no_grad()
def test_outputs_of_the_original_with_the_settings_beside_them(name: str) -> None:
    """1e-9 of the largest logit in float64, 1e-5 in float32."""
    stem = name.partition(".")[0]
    io, settings = GOLDEN2 / f"{stem}_io.npz", GOLDEN2 / f"{stem}.set"
    if not io.is_file():
        pytest.skip(f"reference values {name} are not beside this checkout")
    said = dict(line.split("=", 1) for line in settings.read_text().split())
    network = robustssm.load(GOLDEN2 / name, **said).network
    with np.load(io) as file:
        held = {key: file[key] for key in file.files}
    x, line = torch.from_numpy(held["input"]), name
    for bits, key, most in ((32, "logits", 1e-5), (64, "logits_f64", 1e-9)):
        network = network.double() if bits == 64 else network
        dtype = network.mean.dtype
        u = network.embed(x) if network.tokens is not None else x.to(dtype)
        absolute = float(np.abs(network(u).numpy() - held[key]).max())
        relative = absolute / float(np.abs(held[key]).max())
        line += f"{':' if bits == 32 else ','} float{bits} {absolute:.1e} ({relative:.1e})"
        assert relative < most, line
    print(line)


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_outputs_of_the_original(name: str) -> None:
    """float32: 1e-5 of the largest output; float64 arrays: 1e-9, as the reference values ask."""
    entry, settings = FILES[name]
    io = next((GOLDEN / f"{entry}{end}" for end in ("_io.npz", ".npz")
               if (GOLDEN / f"{entry}{end}").is_file()), None)  # fmt: skip
    if io is None or not (GOLDEN / name).exists():
        pytest.skip(f"reference values {name} are not beside this checkout")
    with np.load(io) as file:
        held = {key: file[key] for key in file.files}
    network = robustssm.load(GOLDEN / name, **settings).network
    kind = next(key for key in ("logits", "log_probs", "output") if key in held)
    if network.tokens is None:
        x, expected = torch.from_numpy(held["input"]), held[kind]
    else:
        x, expected = network.embed(torch.from_numpy(held["input_ids"])), held[kind][:, -1]
    absolute = float(np.abs(network(x).numpy() - expected).max())
    relative = absolute / float(np.abs(expected).max())
    line = f"{name}: float32 {absolute:.1e} ({relative:.1e})"
    assert relative < 1e-5, line
    exact = held.get(f"{kind}_f64")
    # transformers computes norms and logits of Mamba in float32 whatever the rest.
    if exact is not None and network.tokens is None:
        absolute = float(np.abs(network.double()(x.double()).numpy() - exact).max())
        relative = absolute / float(np.abs(exact).max())
        line += f", float64 {absolute:.1e} ({relative:.1e})"
        assert relative < 1e-9, line
    print(line)


@pytest.mark.parametrize("name", OF_SECOND)
@torch.no_grad()
def test_logits_of_the_second_set(name: str) -> None:
    """float32: 1e-5 of the largest logit; float64: 1e-9."""
    entry = SECOND / name.partition(".")[0]
    if not (SECOND / name).exists():
        pytest.skip(f"reference values {name} are not beside this checkout")
    said = dict(line.split("=") for line in entry.with_suffix(".set").read_text().split())
    with np.load(f"{entry}_io.npz") as file:
        held = {key: file[key] for key in file.files}
    network, x = robustssm.load(SECOND / name, **said).network, torch.from_numpy(held["input"])
    for key, allowed in (("logits", 1e-5), ("logits_f64", 1e-9)):
        relative = float(np.abs(network(x).numpy() - held[key]).max() / np.abs(held[key]).max())
        print(f"{name} {key}: {relative:.1e}")
        assert relative < allowed
        # In float32 the layers' parameters stay what they are, float64.
        network, x = network.double(), x.double()
