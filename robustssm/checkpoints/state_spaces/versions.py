"""Names and conventions of state-space kernels in the versions of state-spaces/s4.

References: state-spaces/s4, tags v2, v3.0.0 and v4.x (src/models/sequence/ss/kernel.py,
src/models/sequence/kernels/ssm.py), and its convert_v3_to_v4.py.
"""

from dataclasses import dataclass

from robustssm.checkpoints.weights import Weights


@dataclass(frozen=True)
class Layout:
    """How a version names its kernel's tensors, and what it means by them.

    prefix: of the kernel; feedthrough: name of D; real, imag: of A's parts; imag_sign: of Im A
    in terms of `imag`; length: tensor that tells the length of C~; low_rank: DPLR.
    minimal: one kernel per feature, B = 1, C (d, n, 2). w: A is stored as (S, n, 2) itself.
    disc: discretisation if a config does not say. relu_offset: added by `relu` to -Re A.
    """

    version: str
    prefix: str
    feedthrough: str
    real: str
    imag: str
    low_rank: bool
    imag_sign: float = 1.0
    length: str = ""
    dead: tuple[str, ...] = ()
    disc: str = "zoh"
    real_option: str = "real_type"
    relu_offset: float = 1e-4
    minimal: bool = False


_V4 = {"version": "v4", "prefix": "layer.kernel.", "feedthrough": "layer.D"}
_OLD = {"prefix": "kernel.kernel.", "feedthrough": "D"}
_NEW_A = {"real": "A_real", "imag": "A_imag", "imag_sign": -1.0, "real_option": "real_transform"}
_OLD_DIAGONAL = {
    "real": "inv_A_real",
    "imag": "A_imag",
    "low_rank": False,
    "dead": ("A",),
    "disc": "bilinear",
}
_V3_DPLR = {"real": "inv_w_real", "imag": "w_imag", "low_rank": True, "relu_offset": 0.0}
_V2 = {"version": "v2", **_OLD, "low_rank": True, "length": "omega", "dead": ("z",)}

# Told apart by the tensor that follows each; the first that is there counts.
_LAYOUTS: tuple[tuple[str, Layout], ...] = (
    ("layer.kernel.P", Layout(**_V4, **_NEW_A, low_rank=True, length="l_kernel")),  # type: ignore[arg-type]
    ("layer.kernel.inv_A_real", Layout(**_V4, **_OLD_DIAGONAL)),  # type: ignore[arg-type]
    ("layer.kernel.A_real", Layout(**_V4, **_NEW_A, low_rank=False)),  # type: ignore[arg-type]
    ("kernel.kernel.inv_w_real", Layout(version="v3", **_OLD, **_V3_DPLR, length="L")),  # type: ignore[arg-type]
    ("kernel.kernel.inv_A_real", Layout(version="v3", **_OLD, **_OLD_DIAGONAL)),  # type: ignore[arg-type]
    ("kernel.kernel.log_w_real", Layout(**_V2, real="log_w_real", imag="w_imag")),  # type: ignore[arg-type]
    ("kernel.kernel.w", Layout(**_V2, real="w", imag="w")),  # type: ignore[arg-type]
    (
        "kernel.log_A_real",
        Layout("minimal", "kernel.", "D", "log_A_real", "A_imag", False, minimal=True),
    ),
)


def layout_of(layer: Weights) -> Layout | None:
    """Return the layout of a layer's tensors, None if there is none that is known."""
    for name, layout in _LAYOUTS:
        if name in layer:
            return layout
    return None


def is_kernel(name: str) -> bool:
    """Return whether a tensor's name ends like one that tells a layout."""
    return any(name == marker or name.endswith(f".{marker}") for marker, _ in _LAYOUTS)
