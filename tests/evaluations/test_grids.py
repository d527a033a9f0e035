"""Grids of transfer functions by torch, against the numpy routes, and the command's file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.initializations.responses import response
from robustssm.evaluations.initializations.transfer_on_grid import evaluate, parse_grid
from robustssm.hippo.initializations import parse
from robustssm.hippo.spectrum import spikes


@pytest.mark.parametrize("name", ["s4", "s4d", "s4ptd-rank1"])
def test_two_routes(name: str) -> None:
    system = response(parse(name), np.random.default_rng(0).standard_normal(16))
    omega = parse_grid("1e-2,1e4,300", 16)
    expected = system.transfer(omega)
    # n roundings of terms that add up to sum |C_i x_i|; at spikes 0.64 n^2 eps more.
    found = evaluate(system, omega, "cpu", torch.complex128)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * abs(expected).max())


def test_single_precision_keeps_the_spikes() -> None:
    system = response(parse("s4d"), np.eye(1, 256)[0])
    omega = spikes(256, 3)
    found = evaluate(system, omega, "cpu", torch.complex64)
    # G has n eps of float32; a ratio in float32 would be wrong by 0.64 n^2 eps = 0.5%.
    np.testing.assert_allclose(found, system.transfer(omega), rtol=3e-5)


def test_every_spike_is_on_the_grid() -> None:
    omega = parse_grid("1e-2,1e7,100", 64)
    assert np.isin(spikes(64), omega).all() and (np.diff(omega) > 0.0).all()


@pytest.mark.parametrize("text", ["1,2", "0,1,10", "1,1,10", "1,2,1", "1,2,2.5", "a,b,c"])
def test_bad_grids(text: str) -> None:
    with pytest.raises(UsageError, match=r"transfer: grid .*expected"):
        parse_grid(text, 8)


def test_command_writes_the_grid(tmp_path: Path) -> None:
    arguments = ["transfer", "--n", "8", "--init", "s4d,s4ptd", "--grid", "1e-1,1e3,50"]
    arguments += ["--no-figures", "--device", "cpu", "-o", str(tmp_path)]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 0, found.stderr
    table = pd.read_parquet(tmp_path / "grid.parquet")
    assert {"omega", "hippo re", "s4d im", "s4ptd re"} <= set(table.columns)
    assert np.isfinite(table.to_numpy()).all()
    refused = CliRunner().invoke(main, [*arguments[:-4], "--device", "cuda:99"])
    assert refused.exit_code == 2 and "device" in refused.stderr
