"""The config.json of a Mamba, by the names of transformers and of state-spaces/mamba."""

import math
from collections.abc import Mapping
from typing import Any

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights

# What transformers calls the networks that are known here, and what they are.
SOURCES = {"mamba": "Mamba", "mamba2": "Mamba-2", "falcon_mamba": "FalconMamba"}
# What sizes and switches are called by transformers and by state-spaces/mamba.
_NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "d": ("hidden_size", "d_model"),
    "n": ("state_size", "d_state"),
    "conv": ("conv_kernel", "d_conv"),
    "rank": ("time_step_rank", "dt_rank"),
    "heads": ("num_heads",),
    "head_dim": ("head_dim", "headdim"),
    "expand": ("expand",),
    "bias": ("use_bias", "bias"),
    "conv_bias": ("use_conv_bias", "conv_bias"),
}
# What an ssm_cfg may hold: what fixes the function, then what training and speed take.
_CFG = {
    *(names[-1] for names in _NAMES.values()),
    *("layer", "d_ssm", "ngroups", "D_has_hdim", "rmsnorm", "norm_before_gate", "dt_limit"),
    *("dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path", "conv_init"),
    *("A_init_range", "chunk_size", "use_mem_eff_path", "sequence_parallel"),
}


class Said:
    """What a config.json says, by the names of both code bases; nothing where there is none."""

    def __init__(self, options: Mapping[str, Any], given: Overrides, w: Weights) -> None:
        cfg = options.get("ssm_cfg") or {}
        w.require(isinstance(cfg, dict), f"config.json says ssm_cfg = {cfg!r:.80}")
        self._w, self._options = w, {**options, **cfg}
        # state-spaces/mamba, not a file of it that transformers wrote again
        self.original = "d_model" in options and "model_type" not in options
        layer = self.get("layer", kind=str, default="Mamba1")
        of_layer = {"Mamba1": "mamba", "Mamba2": "mamba2"}.get(layer, layer)
        self.kind = of_layer if self.original else self.get("model_type", kind=str)
        odd = ["layer" if self.original else "model_type"]
        odd = odd if self.kind not in (None, *SOURCES) else []
        odd += [
            key for key in ("attn_layer_idx", "d_intermediate", "d_ssm") if self._options.get(key)
        ]
        silu = self._options.get("hidden_act", "silu") in ("silu", "swish")
        odd += [*([] if silu else ["hidden_act"]), *sorted(cfg.keys() - _CFG)]
        if odd:
            shown = ", ".join(f"{key:.40} is {self._options.get(key)!r:.40}" for key in odd)
            raise given.unsupported(f"{shown} in config.json, which is not supported")

    def get(self, *names: str, kind: type, default: Any = None) -> Any:
        """Return what stands under the first of the names that is there; it has that type."""
        for name in names:
            value = self._options.get(name)
            if value is not None:
                fits = type(value) in ((int, float) if kind is float else (kind,))
                self._w.require(fits, f"config.json says {name} = {value!r:.80}")
                return value
        return default

    def check(self, sizes: Mapping[str, object]) -> None:
        """Raise RejectedInputError if other sizes are said than the tensors have."""
        for size in sizes.keys() & _NAMES.keys():
            for name in _NAMES[size]:
                told, own = self._options.get(name), sizes[size]
                same = told in (own, None) or (size == "rank" and told == "auto")
                self._w.require(same, f"config.json says {name} = {told!r:.80}, its tensors {own}")

    def limit(self) -> tuple[float, float | None]:
        """Return the smallest and largest step of Mamba-2; None for no largest."""
        pair = self.get("dt_limit", "time_step_limit", kind=list, default=[0.0, math.inf])
        try:
            low, high = (float(v["__float__"] if isinstance(v, dict) else v) for v in pair)
        except (TypeError, ValueError, LookupError):
            low, high = math.nan, math.nan
        fits = 0.0 <= low <= high and low < math.inf
        self._w.require(fits, f"config.json says that steps are limited to {pair!r:.80}")
        return low, None if high == math.inf else high
