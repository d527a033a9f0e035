"""What the first trained layer makes of a sinusoid at the input: a prior over modes.

A wave at frequency theta with root mean square 1 (in standard deviations) and independent random
phases on the input's channels leaves encoder W and layer H with the root mean square

    r(theta) = |H(e^{i theta}) W|_F,

the mean over phases taken inside the root. What follows is not linear: GELU and GLU turn the
wave's energy into a shift of the mean, which the pooling at the end keeps, while it averages the
wave itself away. So r orders modes by the disturbance that reaches the first nonlinearity. It
knows nothing of the signal, of the labels, or of how much of r matters to the decision: those are
the linearisation's part. Where a block normalises first (prenorm), r is up to that factor.
"""

import numpy as np

from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.networks.network import Network
from robustssm.typing import FloatArray


def input_response(network: Network, L: int, modes: FloatArray | None = None) -> FloatArray:
    """Return r at DFT bins of length L, (modes,); all bins 0..L/2 where `modes` is None.

    The prior of `searches.mode_ranking`. Raises RejectedInputError if a parameter is not finite,
    UsageError for L < 1 or bins beyond L/2.
    """
    bins = np.arange(L // 2 + 1.0) if modes is None else np.asarray(modes, dtype=np.float64)
    if bins.size and not 0.0 <= bins.min() <= bins.max() <= L / 2.0:
        raise UsageError(
            f"response: bins run from {bins.min():g} to {bins.max():g}, expected 0 to {L // 2} at "
            f"length {L}"
        )
    system, theta = layer_system(network.ssm_layers()[0], L), 2.0 * np.pi * bins / L
    W = network.input_weight.detach().double().cpu().numpy()
    H = system.response(theta)
    if H.ndim == 3:
        return np.linalg.norm(np.moveaxis(H, 2, 0) @ W, axis=(1, 2))
    squares = (np.linalg.norm(W, axis=1)[:, None] * np.abs(H)) ** 2
    return np.sqrt(squares.sum(0))
