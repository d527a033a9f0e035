"""Parameters of layers of LinOSS and D-LinOSS (JAX, equinox), as arrays by their names.

    h = sigmoid(steps or dt),  a = A_diag,  g = G_diag or 0,

a cut at 0 (LinOSS), or a and g moved to where oscillators are underdamped (D-LinOSS). No file of
the code bases names its tensors: they are saved under their names by `numpy.savez`.

References: tk-rusch/linoss, models/LinOSS.py (LinOSSLayer); jaredbmit/damped-linoss,
src/damped_linoss/models/LinOSS.py (DampedIMEX1Layer, -IMEX2, -IM, -EX).
"""

from collections.abc import Mapping

import torch

from robustssm.checkpoints.imported import Imported, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents
from robustssm.layers.linoss import projected

_UNDAMPED = {"IM": "im", "IMEX": "imex"}
_DAMPED = {f"Damped{key}": rule for key, rule in
           {"IMEX1": "imex", "IMEX2": "imex2", "IM": "im", "EX": "ex"}.items()}  # fmt: skip
_FORMULA = "y = Re(C x) + D u of oscillators x'' = -a x - g x' + B u"


def recognises(contents: Contents) -> bool:
    """Return whether the tensors are those of one layer of either code base."""
    names = set(contents.tensors)
    return any({f"{root}{k}" for k in ("A_diag", *"BCD")} <= names for root in ("", "params/"))


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of one layer; raises as `state_spaces.build` does."""
    everything = Weights(contents.tensors, contents.path)
    w = everything.scope("params/" if "params/A_diag" in everything else "")
    damped = "G_diag" in w
    source = "jaredbmit/damped-linoss" if damped else "tk-rusch/linoss"
    given = Overrides(overrides, source, contents.path)
    words = _DAMPED if damped else _UNDAMPED
    option = "layer_name" if damped else "discretization"
    name = given.choice(option, tuple(words))
    given.missing()
    rule = words[name]
    n, d = w.size("A_diag"), w.size("D")
    time = "dt" if "dt" in w else "steps"
    a, h = w.take("A_diag", (n,)), torch.sigmoid(w.take(time, (n,)))
    g = torch.zeros_like(a)
    if damped:
        a, g = projected(rule, a, w.take("G_diag", (n,)), h)
    finite = bool((torch.isfinite(a) & (h > 0.0)).all())
    w.require(
        finite,
        f"{option}={name}: A_diag has no place where oscillators are "
        "underdamped (h g > 1), or a step is 0; take another layer_name",
    )
    tensors = {
        "ssm.A": torch.relu(a),
        "ssm.G": g,
        "ssm.dt": h,
        "ssm.B": w.take("B", (n, d, 2)),
        "ssm.C": w.take("C", (d, n, 2)),
        "ssm.D": w.take("D", (d,)).reshape(1, d),
    }
    formula = f"h = sigmoid({time}), {_FORMULA}"
    mixer: dict[str, object] = {"kind": "oscillators", "n": n, "discretization": rule}
    fields, tensors = lone_layer(mixer, tensors)
    network = sequence_network(source, fields, tensors, given, everything)
    return Imported(network, ("HiPPO's spikes mean nothing",), "linoss", formula)
