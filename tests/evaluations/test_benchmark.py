"""The benchmark: scores by hand, cards made again, altered, resealed, and of other models."""

import copy
import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.evaluations.baselines.files import dump
from robustssm.evaluations.benchmark.card import ALL, CE, ERROR, RELATIVE, scores
from robustssm.evaluations.benchmark.suite import SEVERITIES, Bench, read_suite
from robustssm.evaluations.benchmark.verification import (
    FORMS,
    contradiction,
    drawn,
    plan_card,
)
from robustssm.storage.json_files import read_written
from robustssm.tasks import load_task
from tests.source_tree import ROOT

SUITE = read_suite("v1")
SAMPLES = 24
MUTATIONS = 300


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def made(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A card of a small S4D over a small S4-PTD: its path, its model's options, and the run."""
    run = tmp_path_factory.mktemp("card") / "run"
    of = ("-m", checkpoints["s4d"], "--reference", f"ptd={checkpoints['s4ptd-rank1']}", "-j", 1)
    result = call("benchmark", *of, "-L", SAMPLES, "-o", run, "--format", "json")
    assert result.exit_code == 0, result.output
    assert "about " in result.stderr and json.loads(result.stdout)["suite"] == "v1"
    return {"of": of, "run": run, "path": run / "card.json"}


@pytest.fixture(scope="module")
def bench(made: dict[str, Any]) -> Bench:
    model, reference = resolve([str(made["of"][1]), made["of"][3]])
    return plan_card(read_card(made["path"]), model, reference)


@pytest.fixture
def content(made: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(made["path"].read_text())
    return read


def read_card(path: Path) -> dict[str, Any]:
    return read_written(path, "card", "benchmark", FORMS)


def resealed(content: dict[str, Any]) -> str:
    """Return a card as whoever alters one would write it, with a digest of its bytes."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return dump({**rest, "digest": hashlib.sha256(dump(rest).encode()).hexdigest()})


def test_suite_is_frozen() -> None:
    """A changed suite is another file with another version."""
    assert SUITE.sha256.startswith("8717c4398601c630")
    assert set(SUITE.groups.values()) == {"input", "layers", "adversary"}


def test_scores_are_those_of_the_counts(content: dict[str, Any]) -> None:
    """Sums over severities, one over the other, means over families, by hand."""
    errors = {
        role: {name: 1 - one["right"] / SAMPLES for name, one in of.items()}
        for role, of in content["cells"].items()
    }
    clean = {role: of["clean"] for role, of in errors.items()}
    found: dict[str, dict[str, float]] = {ERROR: {}, CE: {}, RELATIVE: {}}
    for family in SUITE.families:
        own, other = (
            [errors[role][f"{family} {k}"] for k in range(1, SEVERITIES + 1)]
            for role in ("model", "reference")
        )
        found[ERROR][family] = sum(own) / SEVERITIES
        if sum(other) >= SEVERITIES * SUITE.least:
            found[CE][family] = sum(own) / sum(other)
        fall, over = (
            sum(each) - SEVERITIES * clean[role]
            for each, role in ((own, "model"), (other, "reference"))
        )
        if over >= SEVERITIES * SUITE.least:
            found[RELATIVE][family] = fall / over
    for kind, values in found.items():
        groups = {ALL: set(SUITE.families)}
        for family, group in SUITE.groups.items():
            groups.setdefault(group, set()).add(family)
        whole = {of: [values[f] for f in each if f in values] for of, each in groups.items()}
        values |= {of: sum(each) / len(each) for of, each in whole.items() if each}
        said = {of: one["value"] for of, one in content["scores"][kind].items() if of != "clean"}
        assert said == pytest.approx(values, abs=1e-6)
    assert content["scores"][ERROR]["clean"]["value"] == pytest.approx(clean["model"], abs=1e-6)
    every = [one for of in content["scores"].values() for one in of.values()]
    bounded = [one for one in every if None not in one.values()]
    assert bounded and all(one["low"] <= one["value"] <= one["high"] for one in bounded)


def test_a_model_is_one_over_itself(bench: Bench, content: dict[str, Any]) -> None:
    """Its ratios are 1 without an interval, whatever its errors are."""
    outcomes = content["cells"] | {"model": content["cells"]["reference"]}
    found = scores(bench, outcomes)
    one = {"value": 1.0, "low": None, "high": None}
    assert all(score == one for kind in (CE, RELATIVE) for score in found[kind].values())
    assert ALL in found[CE] and ALL in found[RELATIVE]


def test_a_reference_without_errors_is_no_measure(bench: Bench, content: dict[str, Any]) -> None:
    """A family in which it errs on nothing has no ratio, and no part in a mean."""
    right = np.packbits(np.ones(SAMPLES, bool)).tobytes().hex()
    whole = scores(bench, content["cells"])
    for of in content["cells"]["reference"]:
        if of.startswith("chirp") or of == "clean":
            content["cells"]["reference"][of]["correct"] = right
    found = scores(bench, content["cells"])
    assert "chirp" not in found[CE] and "chirp" not in found[RELATIVE]
    assert found[ERROR] == whole[ERROR]
    rest = [found[CE][family]["value"] for family in SUITE.families if family != "chirp"]
    assert found[CE][ALL]["value"] == pytest.approx(np.mean(rest), abs=1e-6)  # type: ignore[arg-type]
    for of in content["cells"]["reference"].values():
        of["correct"] = right
    assert scores(bench, content["cells"])[CE] == {}


def test_a_group_of_which_a_family_was_left_out_has_no_score(
    bench: Bench, content: dict[str, Any]
) -> None:
    rest = {
        role: {name: cell for name, cell in of.items() if not name.startswith("band-pgd")}
        for role, of in bench.cells.items()
    }
    whole = scores(bench, content["cells"])
    left = replace(bench, cells=rest, left_out={"band-pgd": "no"})
    found = scores(left, content["cells"])
    gone = {ALL, "adversary", "band-pgd"}
    kept = {of: one for of, one in whole[CE].items() if of not in gone}
    assert found[CE] == kept and kept


def test_made_again_it_is_the_same(made: dict[str, Any], tmp_path: Path) -> None:
    """From cells half of which were there, as after an interruption, and from all of them."""
    for cell in sorted((made["run"] / "cells").iterdir())[::2]:
        (tmp_path / "run" / "cells").mkdir(parents=True, exist_ok=True)
        shutil.copy(cell, tmp_path / "run" / "cells")
    for run in (tmp_path / "run", made["run"]):
        before = {name: (made["run"] / name).read_bytes() for name in ("card.json", "card.md")}
        result = call("benchmark", *made["of"], "-L", SAMPLES, "-o", run)
        assert result.exit_code == 0, result.output
        assert before == {name: (run / name).read_bytes() for name in before}
    assert (
        b"20" + b"26-" not in before["card.json"]
        and str(tmp_path).encode() not in before["card.md"]
    )


def test_a_card_is_verified(made: dict[str, Any]) -> None:
    result = call("verify", made["path"], *made["of"], "--fraction", 1, "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    cells = 2 * (1 + SEVERITIES * len(SUITE.families))
    assert row["verified"] is True and row["cells"] == row["computed again"] == cells


def test_drawn_cells_are_of_every_family(bench: Bench) -> None:
    families = len(SUITE.families) + 1
    few, many = (drawn(bench, "a", share) for share in (0.05, 0.2))
    assert few == many[: len(few)] and len(few) == 8 and len(many) == 29
    assert len({name.split()[0] for _, name, _ in few}) == len(few)
    assert len({name.split()[0] for _, name, _ in many[:families]}) == families
    assert drawn(bench, "b", 0.2) != many and len(drawn(bench, "a", 1e-9)) == 1


def numbers(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the leaves of a tree are."""
    if not isinstance(tree, dict):
        yield path
        return
    for key, value in tree.items():
        yield from numbers(value, (*path, key))


def mutated(content: dict[str, Any], draw: random.Random) -> Any:
    """Return a card with one value changed, removed, added or replaced."""
    tree = copy.deepcopy(content)
    *path, key = draw.choice(list(numbers(tree)))
    holder = tree
    for part in path:
        holder = holder[part]
    value = holder[key]
    match draw.randrange(6):
        case 0:
            del holder[key]
        case 1:
            holder[f"{key} "] = value
        case 2:
            odd: tuple[object, ...] = (
                None,
                True,
                -1,
                0,
                10**400,
                1e300,
                "",
                "x",
                "\x00",
                [],
                {},
                [[[]]],
                {"a": {}},
            )
            holder[key] = draw.choice(odd)
        case _ if isinstance(value, str) and value:
            place = draw.randrange(len(value))
            sign = draw.choice("0123456789abcdefA. -")
            holder[key] = value[:place] + sign + value[place + 1 :]
        case _ if isinstance(value, int | float) and not isinstance(value, bool):
            step = draw.choice((1, -1, 10)) * 10.0 ** -draw.randrange(7)
            holder[key] = value + (draw.choice((1, -1)) if isinstance(value, int) else step)
        case _:
            holder[key] = [value]
    return tree


def test_every_mutation_is_refused(bench: Bench, content: dict[str, Any], tmp_path: Path) -> None:
    """One change of a value, or of a character of the file: refused in one line, or no change."""
    path, refused = tmp_path / "card.json", 0
    for number in range(MUTATIONS):
        draw = random.Random(number)
        text = json.dumps(mutated(content, draw))
        if number % 3 == 0:
            text = dump(content)
            place = draw.randrange(len(text))
            text = text[:place] + draw.choice('0123456789.eE-"{}[],: x') + text[place + 1 :]
        path.write_text(text)
        try:
            found = contradiction(read_card(path), bench)
        except ValueError as error:
            found = str(error)
        if not found:
            assert json.loads(text) == content, number
        assert "\n" not in found and "\x00" not in found and len(found) < 400, (number, found)
        refused += bool(found)
    assert refused > 0.95 * MUTATIONS


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (("cells", "model", "chirp 3", "right"), 99, "cells.model.chirp 3.right is 99 on the card"),
        (("scores", CE, ALL, "value"), 0.5, f"scores.{CE}.{ALL}.value is 0.5 on the card"),
        (("scores", ERROR, "chirp", "low"), 0.0, f"scores.{ERROR}.chirp.low is 0.0 on the card"),
        (("samples",), 25, "samples is 25 on the card, expected 24"),
        (("of",), 1, "of is 1 on the card"),
        (("conditions", "chirp 3", "eps"), 9.0, "conditions.chirp 3.eps is 9.0 on the card"),
        (("weights", "model"), "0" * 64, "weights.model is 0000"),
        (("data_sha256",), "0" * 64, "data_sha256 is 0000"),
        (("suite_sha256",), "0" * 64, "suite_sha256 is 0000"),
        (("cell_schema",), 2, "cell_schema is 2 on the card"),
    ],
    ids=str,
)
def test_a_resealed_card_contradicts_itself(
    made: dict[str, Any],
    content: dict[str, Any],
    tmp_path: Path,
    place: Any,
    new: Any,
    message: str,
) -> None:
    """One altered number of each kind, the digest made anew: the line names it."""
    holder = content
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = new
    (tmp_path / "card.json").write_text(resealed(content))
    result = call("verify", tmp_path / "card.json", *made["of"])
    assert (result.exit_code, message in result.stderr) == (4, True), result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1


@pytest.mark.parametrize("key", ["predictions", "correct"])
def test_an_outcome_that_follows_from_nothing_is_computed_again(
    made: dict[str, Any], bench: Bench, content: dict[str, Any], tmp_path: Path, key: str
) -> None:
    """Counts, scores and digest of a card agree with a sample that is right on paper alone."""
    from robustssm.evaluations.benchmark.card import card, facts

    cell = content["cells"]["model"]["brown-noise 2"]
    bits = int(cell["correct"], 16) ^ (1 << 8 * (SAMPLES // 8) - 1)
    if key == "correct":
        cell |= {"correct": f"{bits:0{SAMPLES // 4}x}", "right": bits.bit_count()}
    else:
        cell["predictions"] = "0" * 16
    names = {"names": content["names"]}
    made_up = json.loads(dump(card(bench, facts(bench) | names, content["cells"])))
    (tmp_path / "card.json").write_text(dump(made_up))
    assert contradiction(made_up, bench) == ""
    result = call("verify", tmp_path / "card.json", *made["of"], "--fraction", 1)
    assert result.exit_code == 5 and result.stdout == "", result.output
    said = result.stderr.splitlines()[-1]
    assert f"cells.model.brown-noise 2.{'right' if key == 'correct' else key} is " in said
    allowed = call("verify", tmp_path / "card.json", *made["of"], "--fraction", 1, "--allow", 1)
    assert allowed.exit_code == 0, allowed.output


def test_bad_input_is_one_line(made: dict[str, Any], tmp_path: Path) -> None:
    text = made["path"].read_text()
    files = {
        "cut.json": text[: len(text) // 2],
        "deep.json": '{"suite": ' + "[" * 200_000,
        "huge.json": text.replace(f'"samples": {SAMPLES}', '"samples": ' + "9" * 4000),
        "long.json": text.replace(f'"samples": {SAMPLES}', '"samples": ' + "9" * 9000),
        "nan.json": text.replace(f'"samples": {SAMPLES}', '"samples": NaN'),
        "list.json": "[]",
        "suite.json": text.replace('"suite": "v1"', '"suite": "v9"'),
        "limit.json": text.replace(f'"limit": {SAMPLES}', '"limit": 9223372036854775807'),
        "file.json": text.replace('"task": "digits:side=8"', '"task": "file:/etc/passwd"'),
    }
    for name, altered in files.items():
        assert altered != text
        (tmp_path / name).write_text(altered)
    model, of = made["of"][:2], made["of"]
    for arguments, code, message in (
        (("verify", tmp_path / "none.json", *of), 2, "cannot be read"),
        (("verify", tmp_path / "cut.json", *of), 4, "not readable as JSON"),
        (("verify", tmp_path / "deep.json", *of), 4, "nested too deeply"),
        (("verify", tmp_path / "huge.json", *of), 4, "samples is 9999"),
        (("verify", tmp_path / "long.json", *of), 4, "not readable as JSON"),
        (("verify", tmp_path / "nan.json", *of), 4, "not readable as JSON"),
        (("verify", tmp_path / "list.json", *of), 4, "holds no table"),
        (("verify", tmp_path / "suite.json", *of), 2, "suite: 'v9' is unknown"),
        (("verify", tmp_path / "limit.json", *of), 4, "samples is 24 on the card, expected 539"),
        (("verify", tmp_path / "file.json", *of), 2, "name them by --data"),
        (("verify", made["path"], "-m", "s4"), 2, "are over ptd; name that"),
        (("verify", made["path"], "-m", "s4", *of[2:]), 4, "weights.model is 3bb8"),
        (("verify", made["path"], *model), 2, "are over ptd; name that"),
        (("verify", made["path"], "-m", of[3], "--reference", f"x={of[1]}"), 4, "weights.model is"),
        (("verify", made["path"], *of, "-d", "digits"), 4, "data_sha256 is 47cc"),
        (("verify", made["path"]), 2, "model: none is named"),
        (("benchmark", *model, "--suite", "v2"), 2, "suite: 'v2' is unknown, expected one of v1"),
        (("benchmark",), 2, "model: none is named"),
        (("benchmark", "s4", "s4d"), 2, "are 2 models, expected one"),
        (("benchmark", *model, "-d", "file:none.npz"), 4, "none.npz"),
        (("benchmark", "s4", "--reference", "s4/*"), 2, "are 3 models, expected one"),
        (("benchmark", tmp_path / "cut.json"), 4, "cut.json"),
    ):
        result = call(*arguments)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output
        lines = result.stderr.splitlines()
        assert result.stdout == "" and "Traceback" not in result.stderr
        assert len(lines) == 1 or lines[0].startswith("Usage"), lines


MODULE = """
import torch
def make(classes=10):
    torch.manual_seed(0)
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(64, classes)
        def forward(self, x):
            return self.linear(x[:, :, 0])
    return Net()
def one():
    return make(1)
"""


def test_a_module_of_ones_own_without_layers(tmp_path: Path) -> None:
    """Families at layers are left out; errors of the others are absolute."""
    (tmp_path / "net.py").write_text(MODULE)
    own, one = (f"own={tmp_path / 'net.py'}:{function}" for function in ("make", "one"))
    split = load_task("digits:side=8").splits["test"].first(20)
    np.savez(tmp_path / "x.npz", inputs=split.inputs, labels=split.labels)
    data = ("-d", f"file:{tmp_path / 'x.npz'}")
    result = call("benchmark", own, *data, "-o", tmp_path / "run", "--format", "json")
    assert result.exit_code == 0, result.output
    assert "slow-resonance: left out: " in result.stderr
    content = json.loads((tmp_path / "run" / "card.json").read_text())
    assert content["task"] == "file:x.npz" and str(tmp_path) not in json.dumps(content)
    assert set(content["left_out"]) == {n for n, g in SUITE.groups.items() if g == "layers"}
    assert set(content["scores"]) == {ERROR} and "reference" not in content["cells"]
    assert {"input", "adversary"} < set(content["scores"][ERROR]) - {ALL, "layers"}
    page = (tmp_path / "run" / "card.md").read_text()
    assert "none, so errors are absolute" in page and "acts at the inputs of SSM layers" in page
    (tmp_path / "x.npz").rename(tmp_path / "y.npz")
    other = f"file:{tmp_path / 'y.npz'}"
    values = call("benchmark", one, "-d", "ar:length=64:train=20:validation=10:test=10")
    assert values.exit_code == 2 and "expected a task of classes" in values.stderr, values.output
    renamed = own.replace("own=", "mine=")
    result = call("verify", tmp_path / "run" / "card.json", "-m", renamed, "-d", other)
    assert result.exit_code == 0, result.output


CARDS = sorted((ROOT / "docs" / "data" / "cards").glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_of_the_leaderboard_are_of_bundled_models(path: Path) -> None:
    """Weights, data, conditions and suite are those of today; scores follow from the cells."""
    said = read_card(path)
    (model,) = resolve(said["names"]["model"])
    assert contradiction(said, plan_card(said, model)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_of_the_leaderboard_are_verified(path: Path) -> None:
    """Computed again, on a processor that may be another one."""
    result = call("verify", path, "-m", path.stem, "--fraction", 0.05, "--allow", 5)
    assert result.exit_code == 0, result.output


def test_the_bundled_s4_of_the_same_data_is_the_reference() -> None:
    dry = call("benchmark", f"mine={zoo_path('s4d', 1)}", "--dry-run", "--format", "json")
    assert dry.exit_code == 0, dry.output
    (row,) = json.loads(dry.stdout)["rows"]
    assert row["cells"] == 2 * (1 + SEVERITIES * len(SUITE.families))
    assert row["samples a cell"] == 539
