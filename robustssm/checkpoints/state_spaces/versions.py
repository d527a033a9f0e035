"""Names and conventions of state-space kernels in the versions and forks of state-spaces/s4.

References: state-spaces/s4, tags v2, v3.0.0 and v4.x (src/models/sequence/ss/kernel.py,
src/models/sequence/kernels/ssm.py), and its convert_v3_to_v4.py; AnnanYu/Approximate_Diagonal,
S4-PTD; AnnanYu/FreqBiasSSM; AnnanYu/HOPE-SSM.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from robustssm.checkpoints.weights import Weights


@dataclass(frozen=True)
class Layout:
    """How a version names its kernel's tensors, and what it means by them.

    prefix: of the kernel; feedthrough: name of D; real, imag: of A's parts; imag_sign: of Im A
    in terms of `imag`; length: tensor that tells the length of C~; low_rank: DPLR.
    minimal: one kernel per feature, C (d, n, 2), B the same or 1. w: A is stored as (S, n, 2)
    itself. folded: C holds B, and all N modes are stored, not one of each conjugate pair.
    disc: discretisation if a config does not say. relu_offset: added by `relu` to -Re A.
    """

    version: str
    prefix: str
    feedthrough: str
    real: str
    imag: str
    low_rank: bool = False
    imag_sign: float = 1.0
    length: str = ""
    dead: tuple[str, ...] = ()
    disc: str = "zoh"
    real_option: str = "real_type"
    relu_offset: float = 1e-4
    minimal: bool = False
    folded: bool = False

    def formula(self, sign: float, feedthrough: bool) -> str:
        """Return what the tensors mean; f: exp, or what the options of a configuration say."""
        f = "f" if self.version.startswith(("v3", "v4")) else "exp"
        A = f"A = -{f}({self.real}) {'+' if sign > 0 else '-'} i {self.imag}"
        if self.real == self.imag:
            A = f"A = {self.real}" if self.real else "Markov parameters H"
        dt = "f(inv_dt)" if self.version.startswith("v4") else "exp(log_dt)"
        return f"{A}, dt = {dt}, {'D u is added' if feedthrough else 'no D'}"


_V4 = Layout("v4", "layer.kernel.", "layer.D", "inv_A_real", "A_imag")
_V4_DIAGONAL = replace(_V4, dead=("A",), disc="bilinear")
_V4_NEW = replace(_V4, real="A_real", imag_sign=-1.0, real_option="real_transform")
_S4_PTD = replace(_V4_NEW, version="v4 of S4-PTD", folded=True)
_FREQBIAS = replace(_S4_PTD, version="v4 of FreqBias")
_OLD = Layout("v2", "kernel.kernel.", "D", "log_w_real", "w_imag", low_rank=True)
_V2 = replace(_OLD, length="omega", dead=("z",))
_V3_DIAGONAL = replace(_V4_DIAGONAL, version="v3", prefix=_OLD.prefix, feedthrough="D")

# Distinguished by the tensor in front of each; the first that is there counts.
_LAYOUTS = {
    "layer.kernel.P": replace(_V4_NEW, low_rank=True, length="l_kernel"),
    "layer.kernel.inv_A_real": _V4_DIAGONAL,
    "layer.kernel.A_real": _V4_NEW,
    "kernel.kernel.inv_w_real": replace(
        _OLD, version="v3", real="inv_w_real", length="L", relu_offset=0.0
    ),
    "kernel.kernel.inv_A_real": _V3_DIAGONAL,
    "kernel.kernel.log_w_real": _V2,
    "kernel.kernel.w": replace(_V2, real="w", imag="w"),
    "kernel.log_A_real": Layout("minimal", "kernel.", "D", "log_A_real", "A_imag", minimal=True),
    "kernel.H": Layout("HOPE", "kernel.", "D", "", "", minimal=True),
}


# Where layers stand in example.py, in the jacobian study, in a backbone; or at the top.
_PLACE = re.compile(
    r"(?:(?:s4_layers|mapping_layers)\.[^.]+\.|(?:model\.)?layers\.[^.]+\.layer\.|)(.*)"
)


def layout_of(layer: Weights) -> Layout | None:
    """Return the layout of a layer's tensors, None if there is none that is known."""
    layout = next((layout for marker, layout in _LAYOUTS.items() if marker in layer), None)
    if layout is _V4_NEW and "layer.kernel.B" not in layer:
        return _FREQBIAS if "layer.s" in layer else _S4_PTD
    return layout


def is_kernel(name: str, markers: Iterable[str] = _LAYOUTS) -> bool:
    """Return whether a name is a marker's where a network has its layers, or a layer alone."""
    found = _PLACE.fullmatch(name)
    return found is not None and found[1] in markers
