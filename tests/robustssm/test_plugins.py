"""Perturbations, tasks and importers of other packages: found, used, told apart, refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustssm import testing
from robustssm.attacks import Perturbation, Site
from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.base import family
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.checkpoints.importers import IMPORTERS, Importer
from robustssm.errors import UsageError
from robustssm.plugins import Table
from robustssm.tasks import TASKS
from robustssm.tasks.registry import GENERATED
from robustssm.typing import IntArray
from tests.robustssm.checkpoints.test_families import FAMILIES as FILES
from tests.source_tree import ROOT

EXAMPLE = ROOT / "examples" / "robustssm-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example into a folder, which PYTHONPATH may name; no network."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "robustssm_example.py"):
        (source / file).write_bytes((EXAMPLE / file).read_bytes())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--target", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def run(
    *arguments: object, site: Path, cwd: Path, code: int = 0
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


PAGE = (ROOT / "docs" / "plug-ins.md").read_text(encoding="utf-8")
CHECKS = (
    PAGE.partition("```python\n")[2].partition("```")[0]
    + """
import torch
from pathlib import Path
from robustssm import testing
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.importers import IMPORTERS
torch.save({"map.weight": torch.randn(3, 1), "map.bias": torch.zeros(3)}, "mean.pth")
x, other = torch.randn(2, 8, 1), zoo_path("s4d", 0)
testing.check_importer(IMPORTERS["mean-linear"], Path("mean.pth"), {}, x, other)
"""
)


@pytest.mark.slow
def test_the_example_package(installed: Path, tmp_path: Path) -> None:
    """Its contracts hold; it is listed, swept by workers, and its version is part of its cells."""
    run("-c", CHECKS, site=installed, cwd=tmp_path)
    where: dict[str, Any] = {"site": installed, "cwd": tmp_path}
    command = ("-m", "robustssm")
    assert "Square(period)" in run(*command, "ls", "noises", **where).stdout
    assert "pulses[:length=INTEGER]" in run(*command, "ls", "tasks", **where).stdout
    sweep = [*command, "sweep", "-m", "mean.pth", "-d", "pulses", "--noise", "Square(4)"]
    sweep += ["--eps", "0.3,1", "-j", "2", "--no-figures", "-o", "run"]
    run(*sweep, **where)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["plugins"] == ["robustssm-example 1.0"]
    first = {path.name for path in (tmp_path / "run" / "cells").iterdir()}
    run(*sweep, **where)
    (metadata,) = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    metadata.write_text(text.replace("Version: 1.0", "Version: 1.1"))
    try:
        said = run(*sweep, **where, code=2).stderr
        assert "['robustssm-example 1.0'] -> ['robustssm-example 1.1']" in said
        run(*sweep[:-1], "other", **where)
        other = {path.name for path in (tmp_path / "other" / "cells").iterdir()}
        assert len(first & other) == 1 and len(other) == 3  # the clean one
    finally:
        metadata.write_text(text)


def distribution(folder: Path, name: str, entries: dict[str, dict[str, str]]) -> None:
    """Write what an installed package leaves of itself."""
    info = folder / f"{name}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items())
        for group, some in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.slow
def test_a_broken_package_is_in_nobodys_way(tmp_path: Path) -> None:
    groups = {
        "robustssm.perturbations": {"Gone": "no_such_module:Gone", "Fourier": "json:dumps"},
        "robustssm.tasks": {"gone": "no_such_module:gone"},
        "robustssm.importers": {"gone": "no_such_module:gone"},
    }
    distribution(tmp_path / "site", "broken", groups)
    where: dict[str, Any] = {"site": tmp_path / "site", "cwd": tmp_path}
    command = ("-m", "robustssm")
    listed = run(*command, "ls", "noises", **where)
    assert "Fourier(mode" in listed.stdout and "Gone" not in listed.stdout
    assert "plug-in Gone of broken 2.0 cannot be loaded (ModuleNotFoundError" in listed.stderr
    assert "plug-in Fourier of broken 2.0 has the name of a built-in one" in listed.stderr
    assert "plug-in gone of broken 2.0" in run(*command, "ls", "tasks", **where).stderr
    sweep = [*command, "sweep", "-m", "s4d", "--eps", "0.3", "-L", "4", "-j", "1", "--no-figures"]
    run(*sweep, "--noise", "Fourier(3)", "-o", "run", **where)
    for words, expected in (
        (["--noise", "Gone(3)", "-o", "r"], "plug-in Gone of broken 2.0 cannot be loaded"),
        (["-d", "gone", "--noise", "Fourier(3)", "-o", "r"], "plug-in gone of broken 2.0"),
    ):
        done = run(*sweep, *words, **where, code=2)
        assert expected in done.stderr and done.stderr.count("\n") == 1
    torch.save({"nobody": torch.zeros(2)}, tmp_path / "nobody.pth")
    done = run(*command, "inspect", "nobody.pth", **where, code=4)
    assert "in no layout that is known" in done.stderr
    assert "plug-in gone of broken 2.0 cannot be loaded" in done.stderr


def test_names_and_kinds_of_plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "several.py").write_text("one = 1\ntwo = 2\n")
    both = {"y": "several:two"}
    distribution(tmp_path, "a", {"some.group": {"x": "several:one", **both}})
    distribution(tmp_path, "b", {"some.group": both})
    monkeypatch.syspath_prepend(tmp_path)
    table: Table[int] = Table("some.group", {"z": 3}, lambda name, value: "" if value else "more")
    assert list(table) == ["z", "x", "y"] and len(table) == 3 and "y" in table
    assert (table["z"], table["x"]) == (3, 1)
    assert (table.origin("z"), table.origin("x")) == ("", "a 2.0")
    with pytest.raises(UsageError, match=r"plug-in y of a 2\.0 is in b 2\.0 as well"):
        table["y"]
    assert table.working()[0] == {"z": 3, "x": 1}
    with pytest.raises(KeyError):
        table["w"]
    never: Table[int] = Table("some.group", {}, lambda name, value: "something else")
    with pytest.raises(UsageError, match=r"plug-in x of a 2\.0 is 1, expected something else"):
        never["x"]


def test_what_is_built_in_needs_no_look_at_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise AssertionError("packages were looked at")

    monkeypatch.setattr("robustssm.plugins.table.entry_points", fail)
    for table, name in ((FAMILIES, "Fourier"), (ADVERSARIES, "BandPGD"), (TASKS, "digits")):
        assert name in table and table[name] and table.origin(name) == ""


# Contracts that do not hold.


@family
class Base(Perturbation):
    """A wave, and a chance to do something wrong."""

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        return self.wave(x, sample_id, seed, site) * torch.ones(3)

    def wave(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        return self.draws(x.shape[1], x, ids, seed, site)[:, :, None]


class DrawsElsewhere(Base):
    def wave(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        return torch.rand(len(x), x.shape[1], 1, dtype=torch.float64)


class OfTheBatch(Base):
    def wave(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        return (
            torch.arange(len(x), dtype=torch.float64)[:, None, None].expand(-1, x.shape[1], 1) + 1
        )


class OverTheBudget(Base):
    fills = False
    unit = "linf"

    def wave(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        return 2.0 + super().wave(x, ids, seed, site)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DrawsElsewhere, "generator is moved"),
        (OfTheBatch, "the order of samples counts|depends on its batch"),
        (OverTheBudget, "more is delivered than the budget"),
    ],
)
def test_a_broken_perturbation_fails_its_contract(
    kind: type[Perturbation], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES._built_in, kind.__name__, kind)
    with pytest.raises(AssertionError, match=said):
        testing.check_perturbation(kind())


def test_one_that_cannot_be_typed_fails() -> None:
    with pytest.raises(UsageError, match="'Base' is unknown"):
        testing.check_perturbation(Base())


@pytest.mark.parametrize("spec", GENERATED)
def test_tasks_that_are_generated_keep_their_contract(spec: str) -> None:
    small = {
        "listops": ":train=20:validation=5:test=9:min_length=5:max_length=40",
        "noise-padded": ":pad=7",
        "digits": ":side=8",
    }
    testing.check_task(spec + small.get(spec, ":train=20:test=9"))


@pytest.mark.parametrize("name", ["s4d", "dss", "example"])
def test_importers_keep_their_contract(name: str, tmp_path: Path) -> None:
    path, settings = FILES[name](tmp_path)
    (tmp_path / "other").mkdir()
    torch.save({"nobody": torch.zeros(2)}, tmp_path / "other" / "n.pth")
    (importer,) = (
        one
        for one in IMPORTERS.values()
        if one.name.lower().startswith("dss" if name == "dss" else "state")
    )
    x = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(0))
    testing.check_importer(importer, path, settings, x, tmp_path / "other" / "n.pth")
    greedy = Importer("greedy", lambda contents: True, importer.build)
    with pytest.raises(AssertionError, match="is taken for its own"):
        testing.check_importer(greedy, path, settings, x, tmp_path / "other" / "n.pth")
    deaf = Importer(
        "deaf", importer.recognises, lambda contents, said: importer.build(contents, settings)
    )
    with pytest.raises(AssertionError, match="a setting that nobody reads"):
        testing.check_importer(deaf, path, settings, x, tmp_path / "other" / "n.pth")


def test_a_task_that_is_another_each_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(10))

    def drifting(size: int = 3) -> Any:
        task = TASKS["delayed-copy"](train=20 + next(count), test=9)
        return type(task)("drifting", task.classes, task.splits, tokens=task.tokens)

    monkeypatch.setitem(TASKS._built_in, "drifting", drifting)
    with pytest.raises(AssertionError, match="makes other samples"):
        testing.check_task("drifting")
