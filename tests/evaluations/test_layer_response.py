"""The response of encoder and first layer, against the network's own modules."""

import numpy as np
import pytest
import torch

from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.networks.network import Architecture, Network, build_network

NAMES = ("s4", "s4d", "s4d-real", "dss", "s5", "s4ptd-rank1")


def network(name: str, inputs: int = 2) -> Network:
    # Every pole decays by exp(-0.25 * 0.05) a step or faster (-1/2 + rounding for HiPPO).
    architecture = Architecture(
        name, n=8, d_model=4, layers=2, d_input=inputs, dt_min=0.05, dt_max=0.5
    )
    return build_network(architecture, 0).double()


@pytest.mark.parametrize("name", NAMES)
def test_is_the_response_of_the_modules_themselves(name: str) -> None:
    net, L = network(name), 4096
    layer = net.ssm_layers()[0]
    with torch.no_grad():
        unit = torch.zeros(2, L, 2, dtype=torch.float64)
        unit[range(2), 0, range(2)] = 1.0
        zero = net.encoder(torch.zeros(1, L, 2, dtype=torch.float64))
        response = layer(net.encoder(unit) - zero).numpy()
    # Root mean square over independent random phases of the two inputs.
    expected = np.linalg.norm(np.fft.rfft(response, axis=1), axis=(0, 2))
    # The kernel's tail is below exp(-0.0125 * 4096) = 1e-22; rounding of sums of L terms.
    np.testing.assert_allclose(input_response(net, L), expected, rtol=1e-7, atol=1e-9)


def test_bins_are_the_whole_grid_by_default() -> None:
    net = network("s4d")
    whole = input_response(net, 63)
    assert whole.shape == (32,)
    np.testing.assert_array_equal(whole[[3, 30]], input_response(net, 63, np.array([3.0, 30.0])))


def test_reads_and_does_not_change() -> None:
    net = network("s5")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    input_response(net, 64)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("bins", [[-1.0], [33.0]])
def test_refuses_bins_beyond_nyquist(bins: list[float]) -> None:
    with pytest.raises(UsageError, match="expected 0 to 32"):
        input_response(network("s4d"), 64, np.array(bins))
