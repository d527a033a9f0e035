"""The figures of trained layers: their frames, their artists and their files; no pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.evaluations.trained_layers.gain import GainResult, model_gain
from robustssm.figures import style
from robustssm.figures.gain import (
    LOWEST_RATIO,
    draw_all,
    draw_peaks,
    draw_response,
    peaks_data,
    response_data,
)

pytestmark = pytest.mark.usefixtures("pdf_only")


@pytest.fixture(scope="module")
def result() -> GainResult:
    models = []
    for name in ("s4d", "s4", "s5", "s4d-real"):
        checkpoint = load_checkpoint(zoo_path(name, 0))
        measured = model_gain(f"{name}/0", checkpoint, length=32, layers=(0, 2), name=name)
        models.append(measured)
    return GainResult(tuple(models))


def test_curves_reach_the_certified_peaks_and_do_not_pass_them(result: GainResult) -> None:
    for model in result.models:
        frame = response_data(model)
        assert np.isfinite(frame["gain"]).all()
        curves = frame[frame["kind"] == "channel"].groupby(["layer", "channel"])["gain"].max()
        own = model.channels.set_index(["layer", "channel"])
        # 1e-9: the routes of `gain` and of the certificate to one number.
        assert (curves <= own["gain_high"] * (1.0 + 1e-9)).all()
        # The peaks are on the grid, where they are not beyond an edge of the figure.
        edges = LOWEST_RATIO * model.spike, 0.95 * np.pi
        inside = (own["omega"] > edges[0]) & (own["theta"] < edges[1])
        assert inside.mean() > 0.3
        assert (curves >= (1.0 - 1e-9) * own["gain_low"])[inside].all()
        peaks = frame[frame["kind"] == "peak"].set_index(["layer", "channel"])
        pd.testing.assert_series_equal(peaks["gain"], own["gain_low"], check_names=False)
        pd.testing.assert_series_equal(peaks["omega"], own["omega"], check_names=False)


def test_median_is_of_the_channels_that_reach_it(result: GainResult) -> None:
    model = result.models[0]
    frame = response_data(model)
    median = frame[(frame["kind"] == "median") & (frame["layer"] == 0)]
    system = model.systems[0]
    for row in median.iloc[::300].itertuples():
        reached = np.pi / system.dt > row.omega
        theta = np.minimum(row.omega * system.dt, np.pi)
        expected = np.median(system.gain(theta[:, None])[reached, 0])
        assert row.gain == pytest.approx(expected, rel=1e-12)
    assert not (response_data(result.models[2])["kind"] == "median").any()


def test_drawing_a_response_shows_the_frame(result: GainResult) -> None:
    for model in result.models:
        frame = response_data(model)
        before = frame.copy()
        with style.style():
            axes = list(Figure().subplots(2, 1))
            draw_response(frame, axes)
        pd.testing.assert_frame_equal(frame, before)
        for panel, (_, part) in zip(axes, frame.groupby("layer"), strict=True):
            assert panel.get_xscale() == panel.get_yscale() == "log"
            (line,) = [k for k in panel.get_lines() if str(k.get_label()).startswith("certified")]
            shown = part[part["kind"] == "peak"]
            np.testing.assert_array_equal(line.get_ydata(), shown["gain"].to_numpy())
            spike = [k for k in panel.get_lines() if len(set(np.asarray(k.get_xdata()))) == 1]
            assert any(np.asarray(k.get_xdata())[0] == model.spike for k in spike)


def test_peaks_frame_and_drawing(result: GainResult) -> None:
    frame = peaks_data(result)
    assert len(frame) == len(result.channels)
    np.testing.assert_array_equal(frame["ratio"], result.channels["omega_over_spike"])
    assert frame["offset"].between(-0.5, 0.5).all()
    with style.style():
        _, (axes,) = style.new_figure()
        draw_peaks(frame, axes)
    points = [k for k in axes.get_lines() if k.get_marker() == "o"]
    assert sum(len(np.asarray(k.get_xdata())) for k in points) == len(frame)
    assert min(np.asarray(k.get_xdata()).min() for k in points) >= LOWEST_RATIO
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["s4d, layer 0", "s4d, layer 2"] and len(labels) == 8
    shares = [text.get_text() for text in axes.texts]
    assert shares[0] == f"{(abs(frame['ratio'][:32] - 1) < 0.1).mean():.0%}"


def test_files_are_complete(result: GainResult, tmp_path: Path) -> None:
    calls = []
    part = GainResult(result.models[:1])
    first = draw_all(part, tmp_path / "a", report=lambda: calls.append(1))
    kinds = ("pdf", "png", "svg", "csv")
    names = [f"{stem}.{kind}" for stem in ("response-s4d-0", "peaks") for kind in kinds]
    assert [path.name for path in first] == names and len(calls) == 2
    assert all(path.stat().st_size for path in first)
