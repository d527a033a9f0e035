"""Every reference checkpoint, as a user loads it, gives what its own code computed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.checkpoints.importers import open_checkpoint
from tests.reference import CASES, GOLDEN, GOLDEN2

EXAMPLE = {"script": "example.py"}
S5 = {"defaults": "original"}
S5_SAID = {"mode": "pool", "discretization": "zoh", "conj_sym": "true", "activation_fn": "gelu"}
PREFIXED = {**EXAMPLE, "prenorm": "true"}
# Settings of files beside which none are written down: of golden, and of the cases.
SETTINGS: dict[str, dict[str, str]] = {
    "example_s4model_prenorm.pth": PREFIXED,
    "example_s4model_postnorm.pth": {**EXAMPLE, "prenorm": "false"},
    "s5_classifier_gelu_ln_postnorm.checkpoint_7": {**S5, "prenorm": "false"},
    "s5_classifier_halfglu1_bn_prenorm.checkpoint_7": S5,
    "s5_classifier_halfglu1_bn_prenorm.variables.msgpack": S5,
    "s5_classifier_halfglu1_bn_prenorm.orbax": S5,
    "s5pt_s5block_bidir.pt": {"allow_unstable": "true"},
    "ptd_robustness.pth": {"script": "S4-PTD/robustness.py", "prenorm": "false"},
    "noisycifar_s4d.pth": {"script": "noisycifar_S4D.py", "prenorm": "false"},
    "s5ptd_force_neg.checkpoint_7": {**S5_SAID, "prenorm": "false", "force_neg": "true",
                                    "clip_eigs": "false"},
}  # fmt: skip
# Reference values whose own float32 is too far from float64, and such that have none.
FLOAT64_ALONE = ("jr_ssm_",)
NO_FLOAT64 = ("mamba_tiny",)  # parts of it ran in float32


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder that have outputs beside them."""
    found = []
    for io in sorted(folder.glob("*.npz")):
        stem = io.name.removesuffix(".npz").removesuffix("_io")
        found += [
            path
            for path in sorted(folder.glob(f"{stem}*"))
            if path.suffix not in (".npz", ".set", ".yaml", ".md")
            and path.name.removeprefix(stem)[:1] in ("", ".")
        ]
    return found


FOUND = [
    *checkpoints(GOLDEN), *checkpoints(GOLDEN2),
    *(path for case in sorted(CASES.glob("*")) for path in checkpoints(case)),
    *(path for path in sorted((CASES / "prefixes").glob("*")) if path.suffix in (".pth", ".ckpt")),
]  # fmt: skip


LAYERS = [path for path in sorted(GOLDEN2.glob("*.npz")) if not path.stem.endswith("_io")]


def settings_of(path: Path) -> Mapping[str, str]:
    """What a file does not say: from the .set beside it, else from the table above."""
    stem = next((io for io in outputs(path)), path).name.removesuffix(".npz").removesuffix("_io")
    beside = path.parent / f"{stem}.set"
    if not beside.is_file():
        return SETTINGS.get(path.name, PREFIXED if path.parent.name == "prefixes" else {})
    return dict(line.split("=", 1) for line in beside.read_text().split())


def outputs(path: Path) -> list[Path]:
    """The npz that holds the outputs of a checkpoint."""
    stems = [path.name[:end] for end in range(len(path.name), 0, -1)]
    names = [f"{stem}{end}" for stem in stems for end in ("_io.npz", ".npz")]
    found = [path.parent / name for name in names if (path.parent / name).is_file()]
    return found or [path.parent / "example_io.npz"]


@pytest.mark.skipif(not FOUND, reason="no reference checkpoints are beside this checkout")
@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
@torch.no_grad()
def test_outputs_of_the_original(path: Path) -> None:
    """float32: 1e-5 of the largest output; float64: 1e-9, as the reference values ask."""
    with np.load(outputs(path)[0]) as file:
        held = {key: file[key] for key in file.files}
    settings = settings_of(path)
    network = open_checkpoint(path, settings).network
    kind = next(key for key in ("logits", "log_probs", "output") if key in held)
    x = torch.from_numpy(held.get("input_ids", held.get("input")))
    x = x if network.tokens is None else network.embed(x)
    steps = held[kind].ndim == 3 and network(x[:1]).ndim == 2
    said = " ".join(f"{key}={value}" for key, value in settings.items())
    line = f"{path.name} [{said}] <{network.to_dict()['source']}>:"
    for bits, name, tolerance in ((32, kind, 1e-5), (64, f"{kind}_f64", 1e-9)):
        skipped = FLOAT64_ALONE if bits == 32 else NO_FLOAT64
        if name not in held or path.name.startswith(skipped):
            continue
        if bits == 64:
            network = network.double()
            x = torch.from_numpy(held["input"]).double() if network.tokens is None else x.double()
        expected = held[name][:, -1] if steps else held[name]
        absolute = float(np.abs(network(x).numpy() - expected).max())
        relative = absolute / float(np.abs(expected).max())
        line += f" float{bits} {absolute:.1e} ({relative:.1e})"
        assert relative < tolerance, line
    print(line)


@pytest.mark.skipif(not LAYERS, reason="no reference layers are beside this checkout")
@pytest.mark.parametrize("path", LAYERS, ids=lambda path: path.name)
@torch.no_grad()
def test_outputs_of_an_original_layer(path: Path) -> None:
    """Convolution and recurrence: 1e-9 of the largest output, 1e-8 where poles are to coincide."""
    with np.load(path) as file:
        u, expected = torch.from_numpy(file["input"])[None], file["output_f64"]
    settings = settings_of(path)
    network = open_checkpoint(path, settings).network.double()
    (layer,) = network.ssm_layers()
    said = "".join(f" [{key}={value}]" for key, value in settings.items())
    line = f"{path.name}{said or ' []'} <{network.to_dict()['source']}, one layer>:"
    absolute = float(np.abs(network(u)[0].numpy() - expected).max())
    relative = absolute / float(np.abs(expected).max())
    line += f" float64 {absolute:.1e} ({relative:.1e})"
    assert relative < (1e-8 if "dlinoss" in path.name else 1e-9), line
    stepped = layer.recurrence(u)[0].numpy()
    assert float(np.abs(stepped - network(u)[0].numpy()).max()) < 1e-11 * np.abs(expected).max()
    print(line)
