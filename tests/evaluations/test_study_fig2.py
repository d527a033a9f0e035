"""Fig. 2: the data, small trainings, errors by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import UsageError
from robustssm.evaluations.paper import fig2, running, sinusoids
from robustssm.evaluations.paper.fig2 import INSIDE, OUTSIDE
from robustssm.evaluations.paper.reproduction import Context
from robustssm.hippo.spectrum import spikes
from robustssm.tasks.sinusoids import Signals

SIGNALS = Signals(0.01, 400, 80.0, 0.5, 2.0)
SMALL: dict[str, object] = {
    **fig2.REPRODUCTION.quick,
    "d_model": 4,
    "length": 64,
    "samples": 64,
    "epochs": 2,
    "s_step": 5.0,
    "seeds": [0, 1],
    "models": ["s4", "s4d"],
}


@given(
    s=st.floats(0.0, 100.0, allow_subnormal=False),
    A=st.floats(0.1, 10.0),
)
@settings(deadline=None)
def test_samples_and_targets(s: float, A: float) -> None:
    there, here = np.array([s]), np.array([A])
    u = SIGNALS.samples(there, here)
    assert u.shape == (1, 400) and u[0, 0] == A
    # cos((l+1) x) + cos((l-1) x) = 2 cos x cos(l x), whose rounding is about 400 eps s h.
    assert np.allclose(u[0, 2:] + u[0, :-2], 2.0 * np.cos(s * 0.01) * u[0, 1:-1], atol=1e-11 * A)
    back = SIGNALS.unscaled(SIGNALS.scaled(there, here))
    # Two affine maps of numbers up to 100: a few ulps.
    np.testing.assert_allclose([back[0][0], back[1][0]], [s, A], atol=1e-12)


def test_draws_fill_their_ranges_and_depend_on_the_seed_alone() -> None:
    s, A = SIGNALS.draw(4000, 0)
    assert s.min() >= 0.0 and s.max() <= 80.0 and A.min() >= 0.5 and A.max() <= 2.0
    # Five standard errors of the mean of a uniform variable: 5 * range / sqrt(12 * 4000).
    assert abs(s.mean() - 40.0) < 1.83 and abs(A.mean() - 1.25) < 0.035
    assert abs(np.corrcoef(s, A)[0, 1]) < 5.0 / np.sqrt(4000)
    np.testing.assert_array_equal(SIGNALS.draw(4000, 0)[0], s)
    assert not np.array_equal(SIGNALS.draw(4000, 1)[0], s)


def test_signals_that_alias_or_have_no_amplitude_are_refused() -> None:
    with pytest.raises(UsageError, match="smaller step"):
        Signals(0.1, 400, 80.0, 0.5, 2.0)
    with pytest.raises(UsageError, match="low < high"):
        Signals(0.01, 400, 80.0, 2.0, 2.0)


def test_training_is_reproducible_and_paired_by_seed() -> None:
    first, loss = sinusoids.fit("s4d", 0, SMALL)
    again, same = sinusoids.fit("s4d", 0, SMALL)
    assert loss == same
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    # dt is not trained: it is the sampling step, to float32 rounding of its logarithm.
    np.testing.assert_allclose(first.ssm_layers()[0].step_size().detach(), 0.01, rtol=1e-6)
    # Four steps of AdamW at a rate of 1e-3 move Im lambda by about 1e-3 each.
    low, high = sinusoids.last_spike(first, sinusoids.signals(SMALL))
    assert abs(low - spikes(16, 1)[0]) < 0.05 and abs(high - spikes(16, 1)[0]) < 0.05


def test_training_lowers_the_error() -> None:
    longer = SMALL | {"d_model": 8, "samples": 256, "epochs": 25, "length": 100, "step": 0.02}
    _, loss = sinusoids.fit("s4ptd-rank1", 0, longer)
    # The targets are uniform on [-1, 1]: predicting their mean has an error of 1/3.
    assert loss < 0.2


def test_predictions_do_not_depend_on_their_batch() -> None:
    network, _ = sinusoids.fit("s4", 0, SMALL)
    given_ = sinusoids.signals(SMALL)
    s = np.linspace(0.0, 100.0, 150)
    whole = sinusoids.predict(network, given_, s, np.ones(150))
    part = sinusoids.predict(network, given_, s[140:], np.ones(10))
    # float32 convolutions of another batch size may round otherwise: 1e-5 of ranges of 40 and 1.
    np.testing.assert_allclose(part["s_hat"], whole["s_hat"][140:], atol=4e-3)
    np.testing.assert_allclose(part["amplitude_hat"], whole["amplitude_hat"][140:], atol=1e-4)


def test_recipe_resumes_by_network_and_processes_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe,) = running.chosen("fig2")
    one = running.run(recipe, SMALL, tmp_path / "one", jobs=1)
    # All files of networks but one, as a killed step leaves them.
    path = running.stored_path(recipe, recipe.step("predictions"), SMALL, tmp_path / "one")
    kept = sorted(path.with_suffix("").iterdir())
    assert len(kept) == 4
    path.unlink()
    kept[0].unlink()
    calls = []
    fit = sinusoids.fit

    def counted(*cell: object) -> object:
        calls.append(cell[:2])
        return fit(*cell)  # type: ignore[arg-type]

    monkeypatch.setattr(sinusoids, "fit", counted)
    again = running.run(recipe, SMALL, tmp_path / "one", jobs=1)
    assert calls == [("s4", 0)]
    pd.testing.assert_frame_equal(one["predictions"], again["predictions"])
    monkeypatch.undo()
    two = running.run(recipe, SMALL, tmp_path / "two", jobs=2)
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, two[name])


def test_errors_by_hand() -> None:
    s = np.array([0.0, 40.0, 80.0, 90.0, 100.0])
    frame = pd.DataFrame(
        {
            "model": "s4d",
            "seed": 0,
            "s": s,
            "amplitude": 2.0,
            "s_hat": s + np.array([3.0, 0.0, 0.0, -1.0, 7.0]),
            "amplitude_hat": [2.0, 2.0, 1.0, -2.0, 4.0],
        }
    )
    found = fig2.errors(Context(SMALL, {"predictions": frame}, Path(), Path())).set_index("band")
    assert found.loc[INSIDE, "rms_s"] == np.sqrt(3.0)
    assert found.loc[INSIDE, "rms_ratio"] == np.sqrt(0.25 / 3.0)
    assert np.isinf(found.loc[INSIDE, "broken"])
    assert found.loc[OUTSIDE, "rms_s"] == 5.0
    assert found.loc[OUTSIDE, "rms_ratio"] == np.sqrt(2.5)
    assert list(found.loc[OUTSIDE, ["worst", "broken", "lowest_at"]]) == [90.0, 90.0, 90.0]
    assert list(found.loc[OUTSIDE, ["lowest_ratio", "lowest"]]) == [-1.0, -2.0]
