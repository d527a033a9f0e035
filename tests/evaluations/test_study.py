"""The study's statistics: what its rule says of planted data, of none, and of exchanged labels."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.native import load_checkpoint
from robustssm.evaluations.paper import running
from robustssm.evaluations.statistics.intervals import wilson
from robustssm.evaluations.study import design, measured, prediction, questions, rule
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.figures.paper import saving
from robustssm.networks.network import own_network
from robustssm.tasks import load_task
from tests.source_tree import ROOT

MODELS = design.MODELS
TASKS = ("short", "middle", "long")


def drawn(seed: int, effect: float = 0.0, seeds: int = 10) -> questions.Measured:
    """Return what a study may measure: equal models, or s4d falling further by `effect`."""
    rng = np.random.default_rng(seed)
    shape = (len(MODELS), seeds)

    def fields(scale: float) -> dict[str, np.ndarray]:
        return {task: scale * rng.standard_t(3, shape) for task in TASKS}

    m = questions.Measured(
        MODELS,
        clean=fields(0.002),
        spike=fields(0.02),
        low=fields(0.02),
        layers=fields(0.02),
        gain=fields(1.0),
        finite_gain=fields(1.0),
        kappa=fields(1.0),
        variants={name: 0.02 * rng.normal(size=(2, seeds)) for name in ("", "n = 16")},
        rho={("long", "input"): rng.normal(size=(2, seeds))},
    )
    for task in TASKS:
        m.spike[task][MODELS.index("s4d")] += effect
    return m


def test_the_rule_shows_what_was_planted_and_nothing_else() -> None:
    m = drawn(3, effect=0.3)
    table = rule.judged(questions.claims(m), questions.rankings(m))
    s4d = table[(table["question"] == "Q1") & table["estimand"].str.contains("s4d")]
    assert set(s4d["verdict"]) == {"shown"} and len(s4d) == 2 * len(TASKS)
    assert set(table[table["question"] == "Q6"]["verdict"]) == {"alike"}
    rest = table.drop(s4d.index)
    assert set(rest[rest["question"] != "Q6"]["verdict"]) == {"undecided"}
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()


def test_what_three_seeds_can_never_show_is_undecided() -> None:
    m = drawn(3, effect=0.9, seeds=3)
    table = rule.judged(questions.claims(m), questions.rankings(m))
    assert not (table[table["question"] == "Q1"]["verdict"] == "shown").any()


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_exchanged_labels_claim_differences_in_at_most_one_study_of_twenty(effect: float) -> None:
    # Where models differ, too: then labels that are exchanged make heavy-tailed differences.
    studies, single = rule.null_study(drawn(5, effect), repeats=400)
    low, _ = wilson(round(400 * studies), 400)
    assert low <= 0.05 and single <= 0.05


def test_exchanging_labels_moves_networks_and_keeps_them_all() -> None:
    m = drawn(1)
    other = rule.exchanged(m, np.random.default_rng(0))
    for task in TASKS:
        assert (np.sort(other.spike[task], axis=0) == np.sort(m.spike[task], axis=0)).all()
        assert not (other.spike[task] == m.spike[task]).all()
        # A network keeps its clean accuracy beside its falls.
        at = {(a, b) for a, b in zip(m.spike[task].ravel(), m.clean[task].ravel(), strict=True)}
        to = zip(other.spike[task].ravel(), other.clean[task].ravel(), strict=True)
        assert set(to) == at


def test_exact_p_of_an_order_counts_all_orders() -> None:
    rng = np.random.default_rng(2)
    blocks = tuple(rng.normal(size=(2, 5)) for _ in range(4))
    ranking = questions.Ranking("Q4", "", blocks, (0, 0, 1, 1))
    means, p = rule.rank_correlation(ranking)

    def mean(order: tuple[int, ...]) -> float:
        return np.mean([stats.spearmanr(a, b[list(order)]).statistic for a, b in blocks])

    found = [abs(mean(order)) for order in permutations(range(5))]
    assert p == pytest.approx(np.mean(np.array(found) >= abs(mean((0, 1, 2, 3, 4))) - 1e-12))
    each = [stats.spearmanr(a, b).statistic for a, b in blocks]
    assert means == pytest.approx([np.mean(each[:2]), np.mean(each[2:])])


def test_one_order_in_all_blocks_is_the_rarest_there_is() -> None:
    blocks = tuple(np.stack([np.arange(5.0), np.exp(np.arange(5.0))]) for _ in range(3))
    means, p = rule.rank_correlation(questions.Ranking("Q2", "", blocks, (0, 1, 2)))
    assert means == pytest.approx(1.0) and p == pytest.approx(2 / 120)


def table_of(fall: float = 0.1) -> Iterator[dict[str, object]]:
    """Yield rows of accuracies: model b falls at low modes, a not at all."""
    for init in ("a", "b"):
        for seed in (0, 1):
            about = {"task": "t", "init": init, "seed": seed, "variant": "", "n": 100}
            yield about | {"place": "clean", "at": 0.0, "eps": 0.0, "correct": 90}
            for at in (1.0, 2.0, 4.0):
                lost = fall * 100 / at if init == "b" else 0.0
                right = {"correct": 90 - lost, "place": "input", "at": at, "eps": design.LOW}
                yield about | right


def test_predictions_stand_beside_the_falls_that_they_are_of() -> None:
    accuracies = pd.DataFrame(table_of())
    weights = accuracies[accuracies["place"] == "input"].drop(columns=["n", "correct", "eps"])
    weights = weights.assign(response=1.0 / weights["at"], finite=weights["at"], gradient=np.nan)
    table = prediction.predicted(accuracies, weights)
    b = table[table["init"] == "b"]
    assert b["fall"].to_numpy() == pytest.approx(np.tile([0.1, 0.05, 0.025], 2))
    # What the other models lost, which is nothing.
    assert (b["others"] == 0.0).all()
    assert table[table["init"] == "a"]["others"].to_numpy() == pytest.approx(b["fall"].to_numpy())
    found = prediction.scores(table).set_index(["init", "seed"])
    assert np.isnan(found.loc[("a", 0), "response"])
    assert found.loc[("b", 0), "response"] == 1.0 == found.loc[("b", 1), "low"]
    assert found.loc[("b", 1), "finite"] == -1.0


def test_a_prediction_learnt_elsewhere_is_exact_if_all_tasks_are_alike() -> None:
    accuracies = pd.DataFrame(table_of())
    both = pd.concat([accuracies, accuracies.assign(task="u")], ignore_index=True)
    both = both[both["init"] == "b"]
    weights = both[both["place"] == "input"].drop(columns=["n", "correct", "eps"])
    weights = weights.assign(response=1.0 / weights["at"], finite=1.0, gradient=np.nan)
    errors = prediction.calibration(prediction.predicted(both, weights))
    assert errors["response"].to_numpy() == pytest.approx(0.0, abs=1e-12)
    assert errors["mean"].to_numpy() == pytest.approx(errors["finite"].to_numpy())
    assert (errors["mean"] > 0.01).all() and errors["gradient"].isna().all()


@pytest.mark.parametrize("init", ["s4d", "s4", "s5"])
def test_cut_off_responses_tend_to_those_of_endless_time(init: str) -> None:
    network = own_network(load_checkpoint(zoo_path(init, 0)).network, "test")
    system = layer_system(network.ssm_layers()[0], 256)
    theta = 2.0 * np.pi * 5 / 256
    whole = measured.through_first(network, system, theta, None)
    assert whole == pytest.approx(input_response(network, 256, np.array([5.0]))[0], rel=1e-9)
    # Memory of a layer: dt >= 0.001, decay 1/2, so that e^-20 is left of 40,000 samples.
    assert measured.through_first(network, system, theta, 40_000) == pytest.approx(whole, rel=1e-4)


def test_a_cut_off_response_is_what_a_wave_has_become_at_its_end() -> None:
    network = own_network(load_checkpoint(zoo_path("s4d", 0)).network, "test")
    system = layer_system(network.ssm_layers()[0], 100)
    angle = 0.3
    kernel, wave = system.kernel(100), np.exp(1j * angle * np.arange(100))
    end = [np.convolve(row, wave)[99] for row in kernel]
    found = measured.matrix(system, np.full(len(kernel), angle), 100)
    assert np.abs(np.diag(found)) == pytest.approx(np.abs(end), rel=1e-10)


def test_conditions_are_those_of_the_protocol() -> None:
    task = load_task("digits:side=8")
    found = design.conditions(task, 32)
    assert {c.inject for c in found} == {"input", "layers"}
    assert design.modes(64).tolist() == [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32]
    assert design.low_modes(64).tolist() == [1, 2, 3, 4]
    assert design.frequencies(32)[design.OCTAVES.index(1.0)] == pytest.approx(325.426, abs=1e-3)
    assert len({c.id for c in found}) == 2 * (len(design.modes(64)) + len(design.OCTAVES))


def test_the_whole_runs_and_draws_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pdf_only: None
) -> None:
    monkeypatch.setattr(design, "LIMIT", 16)
    (study,) = running.chosen("study")
    size = {"tasks": {"digits:side=8": (1, 64)}, "models": ["s4d", "s4ptd-rank1"]}
    settings = {**study.quick, **size, "seeds": [0, 1], "variants": {}}
    tables = running.run(study, settings, tmp_path)
    rows = running.compare(study, tables)
    judged = rows[rows["quantity"].str.startswith("Q")]
    assert set(judged["verdict"]) <= {"shown", "alike", "undecided"} and len(judged) >= 3
    told = dict(zip(rows["quantity"], rows["found"], strict=True))
    assert "of 4 networks" in told["rank correlation over frequencies, digits-8: noise at input"]
    assert any("20 studies" in found for found in rows["found"])
    assert {path.stem for path in saving.draw_all("study", tables, tmp_path)} >= {
        "study-accuracy",
        "study-calibration",
        "study-prediction",
    }
    accuracies = tables["digits-8-accuracies"]
    cells = len(design.conditions(load_task("digits:side=8"), 32)) + 1
    assert len(accuracies) == 4 * cells and (accuracies["n"] == 16).all()
    computed: list[str] = []
    again = running.run(study, settings, tmp_path, started=computed.append)
    assert computed == []
    pd.testing.assert_frame_equal(again["digits-8-weights"], tables["digits-8-weights"])


def test_the_study_is_no_figure_of_the_paper() -> None:
    assert "study" in running.reproductions()
    assert "study" not in {one.name for one in running.chosen("all")}
    assert [one.name for one in running.chosen("study")] == ["study"]


STORED = sorted((ROOT / "docs" / "data" / "study").glob("*.parquet"))


def test_tables_of_the_repository_are_read_and_not_made_again() -> None:
    """Their names hold the identity of today's steps and settings; no network is missing."""
    study = running.reproductions()["study"]
    steps = {running.stored_path(study, step, study.full, Path()).name for step in study.steps}
    assert STORED and {path.name for path in STORED} <= steps
    for path in STORED:
        table = running.read(path)
        if "correct" in table:
            networks = len(design.MODELS) * 10
            assert table.groupby(["init", "seed", "variant"]).ngroups >= networks
            assert table["hash"].nunique() >= networks and (table["correct"] <= table["n"]).all()
            assert len(table) % table["hash"].nunique() == 0
