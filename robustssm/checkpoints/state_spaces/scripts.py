"""Classifiers of single scripts, which save `s4_layers.<i>.`: example.py and what was made of it.

Several public scripts save the same keys and shapes and mean other functions. So the script is
asked for by name where more than one is known, and what it does beyond the file is noted: a copy
may do otherwise, which `--set` says.

References: state-spaces/s4, example.py (class S4Model); AnnanYu/Approximate_Diagonal, S4-PTD/
ablation.py and robustness.py; AnnanYu/HOPE-SSM, run_cifar.py, noisycifar_HOPE.py and _S4D.py.
"""

from dataclasses import dataclass, replace

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.backbone import Parts, stored_norm
from robustssm.checkpoints.state_spaces.frames import EXAMPLE
from robustssm.checkpoints.state_spaces.layers import LayerReader
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.weights import Weights


@dataclass(frozen=True)
class Script:
    """What a script does, as far as scripts differ: A = -exp(log_A_real) + i imag_sign A_imag.

    mirrored, pool_from: as of a Blueprint. doubles: log_A_real is saved in float64.
    """

    imag_sign: str = "1"
    residual: str = "add"
    pool_from: int = 0
    mirrored: bool = False
    doubles: bool = False


SCRIPTS = {
    "example.py": Script(),
    "S4-PTD/ablation.py": Script(imag_sign="-1", doubles=True),
    "noisycifar_S4D.py": Script(pool_from=1024),
    "S4-PTD/robustness.py": Script(imag_sign="-1", residual="none", doubles=True),
    "run_cifar.py": Script(mirrored=True),
    "noisycifar_HOPE.py": Script(pool_from=1024),
}
# Scripts by a tensor of the layers that they save; the first that is there counts.
_SAVED_BY = {
    "kernel.H": ("run_cifar.py", "noisycifar_HOPE.py"),
    "kernel.B": ("S4-PTD/robustness.py",),
    "kernel.log_A_real": ("example.py", "S4-PTD/ablation.py", "noisycifar_S4D.py"),
    "": ("example.py",),
}


def read_script(w: Weights, overrides: Overrides, layer: LayerReader) -> Parts:
    """Return the parts of a script's classifier; `script` and `prenorm` are asked for together."""
    first = w.scope(f"{EXAMPLE.layers}0.")
    allowed = next(known for key, known in _SAVED_BY.items() if not key or key in first)
    options = Options(None, overrides, "network")
    name = options.one_of("script", allowed, allowed[0] if len(allowed) == 1 else None)
    script = SCRIPTS[name]
    of_layer = Options(None, overrides, imag_sign=script.imag_sign)
    start = options.number("pool_from", script.pool_from) or 0
    options.require(start == int(start), "pool_from", start, "a whole number")
    w.ignore(lambda name: name.endswith("num_batches_tracked"))
    parts = EXAMPLE.read(
        w,
        lambda one: layer(one, of_layer),
        prenorm=overrides.flag("prenorm"),
        norm=stored_norm(w.scope("norms.0."), options, "layer"),
        residual=options.one_of("residual", ("add", "none"), script.residual),
        pooling=options.one_of("pooling", ("mean", "last", "first", "sum"), "mean"),
        pool_from=int(start),
        mirrored=options.flag("mirrored", script.mirrored),
    )
    return replace(parts, script=name)
