"""The linear part of Fig. 2 alone: untrained channels, their output levels, least squares.

A layer as it is initialised has d random readouts. Channel h answers A cos(s t) in steady state by
a sinusoid of amplitude A |H_h(e^{i s dt})|, its level. The amplitude is read as sum_h w_h level_h,
the frequency (times A) as sum_h v_h level_h, with w and v by ridge regression on s in [0, s_max]:
both are proportional to A, so A = 1 says everything. No training, no chance but the readouts. Two
routes: levels of a finite window, and the transfer function (steady state).

In continuous time S4D's levels are those of S4 over |1 + phi_n(i s)|, for every readout (see
`robustssm.hippo.legs`). Its w has to fit |1 + phi_n| by smooth functions of s: it falls to almost
0 at a spike and comes back. Past the last spike a smooth fit goes on below 0, where it is about
-|1 + phi_n|: the amplitude that is read turns to about -A.
"""

import numpy as np
import pandas as pd
import torch

from robustssm.errors import UsageError
from robustssm.evaluations.paper.sinusoids import BLOCK, Signals
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.execution import one_thread
from robustssm.hippo.initializations import initialization
from robustssm.layers import LAYERS, SSMLayer
from robustssm.typing import FloatArray

WINDOW, STEADY = "window", "steady"


def bank(init: str, n: int, d: int, step: float, seed: int) -> SSMLayer:
    """Return an untrained layer of d channels with dt = step; equal seeds, equal readouts.

    Readouts are Gaussian in HiPPO's coordinates. Raises UsageError for `s5` and `s5ptd`, which
    have no channel of their own.
    """
    made = initialization(init, n)
    if made.name.family == "mimo":
        raise UsageError(f"filter bank: {init} mixes its channels, expected an SISO layer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = LAYERS[made.name.family](made, d, dt_min=step, dt_max=step, feedthrough=False)
    return layer.eval()


def steady_levels(layer: SSMLayer, given: Signals, s: FloatArray) -> FloatArray:
    """Return |H_h(e^{i s dt})| per channel, shape (m, d), of s (m,) in rad per unit time."""
    return layer_system(layer, given.length).gain(given.step * s).T


@torch.no_grad()
def window_levels(layer: SSMLayer, given: Signals, s: FloatArray) -> FloatArray:
    """Return sqrt(2) times the RMS output over the second half of the window, (m, d), A = 1."""
    half, parts = given.length // 2, []
    with one_thread():
        for start in range(0, len(s), BLOCK):
            some = s[start : start + BLOCK]
            u = torch.from_numpy(given.samples(some, np.ones_like(some)))[..., None]
            y = layer(u.expand(-1, -1, layer.d))[:, half:]
            parts.append((2.0 * y.square().mean(1)).sqrt())
    return np.asarray(torch.cat(parts).numpy())


ROUTES = {STEADY: steady_levels, WINDOW: window_levels}


def read(levels: FloatArray, s: FloatArray, s_max: float, ridge: float) -> pd.DataFrame:
    """Return columns s, gain (RMS of the levels over channels), s_hat, amplitude_hat at A = 1.

    w and v minimise |F w - 1|^2 + ridge tr(F^T F) / d |w|^2, and F v against s likewise, over the
    rows with s <= s_max.
    """
    F = levels[s <= s_max]
    d = F.shape[1]
    penalty = np.sqrt(ridge * np.square(F).sum() / d) * np.eye(d)
    targets = np.stack([np.ones(len(F)), s[s <= s_max]], axis=1)
    stacked = np.concatenate([F, penalty]), np.concatenate([targets, np.zeros((d, 2))])
    weights = np.linalg.lstsq(*stacked, rcond=None)[0]
    amplitude, moment = (levels @ weights).T
    gain = np.sqrt(np.square(levels).mean(axis=1))
    return pd.DataFrame({"s": s, "gain": gain, "s_hat": moment, "amplitude_hat": amplitude})


def envelope(rate: float, given: Signals) -> float:
    """Return the level of a window at a pole -rate + i s, relative to its steady state.

    The RMS of 1 - exp(-rate t) over the second half of the window: the other poles are left out.
    """
    T = given.step * given.length
    t = np.linspace(0.5 * T, T, 2001)
    return float(np.sqrt(np.mean(np.square(1.0 - np.exp(-rate * t)))))
