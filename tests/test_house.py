"""The plan of the house: imports run one way, in no circle, and every file lies in its package."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.source_tree import FOLDERS, ROOT, ancestors, imports, modules, nodes, tree

# The floors, lowest first. A name is a package with all that lies in it, or one loose file; names
# leave out the leading `robustssm.`, and `robustssm`, `attacks`, `evaluations` are the __init__.py
# alone. A file imports from its own package and from lower floors. Packages on one floor do not
# import each other; loose files on one floor may, in no circle.
FLOORS = (
    # what an SSM is
    "arguments errors typing _version _checkout execution philox source_date plain_text",
    "targets",
    "storage plugins",
    "file_formats",
    "hippo tasks",
    "layers",
    "networks",
    "checkpoints",
    "training",
    # what is done to an input
    "attacks.bands attacks.blocks attacks.units attacks.budget attacks.frequencies attacks.kept "
    "attacks.base attacks.channels attacks.delivered",
    "attacks.perturbations attacks.adversaries",
    "attacks.windows",
    "attacks.expressions attacks.injection attacks.augmentation attacks.adversarial attacks",
    "testing",
    # what is measured
    "evaluations evaluations.statistics evaluations.suprema evaluations.table_files",
    "evaluations.initializations",
    "evaluations.sweep",
    "evaluations.results evaluations.certificates",
    "evaluations.trained_layers evaluations.comparison evaluations.reports",
    "evaluations.searches evaluations.doctor evaluations.baselines evaluations.exports "
    "evaluations.paper",
    "evaluations.study evaluations.benchmark evaluations.repairs",
    # what is shown
    "figures",
    "figures.paper",
    # the top
    "api",
    "robustssm",
    "commands",
    "cli pytest_plugin __main__",
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
# Folders whose files each need a place of their own.
OPEN = {"robustssm", "attacks", "evaluations"}

# Numerics on numpy and scipy alone: all files of these packages but those named second.
WITHOUT_TORCH = (
    "robustssm.hippo",
    "robustssm.evaluations.statistics",
    "robustssm.evaluations.suprema",
    "robustssm.evaluations.initializations",
    "robustssm.evaluations.results",
    "robustssm.evaluations.comparison",
    "robustssm.evaluations.reports",
    "robustssm.evaluations.exports",
)
WITH_TORCH = {
    "robustssm.hippo.transfer_grid",
    "robustssm.hippo.optimized",
    "robustssm.evaluations.initializations.transfer_on_grid",
}
# Imports modules where nobody can import torch. scipy asks sys.modules for torch, so that a None
# there would not do.
WITHOUT = """
import importlib, sys
class NoTorch:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch cannot be imported here")
sys.meta_path.insert(0, NoTorch)
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name} does not import: {error}")
"""

# Python files that may lie directly in a folder, __init__.py included.
LOOSE = {"robustssm": 14, "attacks": 15, "evaluations": 3, "figures": 17}
# A file longer than this is two files; the exceptions have their reason.
LONGEST = 300
LONG: dict[str, str] = {}
# Parameters that a function may have; commands of click are exempt, since theirs are options.
MOST = 8
WIDE = {
    "robustssm.tasks.frequency_discrimination.frequency_discrimination",
    "robustssm.tasks.sinusoids.sinusoids",
    "robustssm.training.loop.train",
    "robustssm.attacks.injection.perturbed_logits",
    "robustssm.api.runs.sweep",
}


def room(module: str) -> str:
    """Return the name in FLOORS that a module belongs to; empty if it has none."""
    name = module.removeprefix("robustssm.")
    places = [place for place in (name, *ancestors(name)) if place in FLOOR_OF]
    return places[0] if places and (places[0] not in OPEN or places[0] == name) else ""


def is_package(name: str) -> bool:
    path = modules().get(name if name == "robustssm" else f"robustssm.{name}")
    return path is not None and path.name == "__init__.py" and name not in OPEN


def shown(module: str) -> str:
    return str(modules()[module].relative_to(ROOT))


def circle(graph: Mapping[str, Iterable[str]]) -> str:
    """Return one circle as `a -> b -> a`, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def test_every_file_has_its_floor() -> None:
    placeless = [shown(module) for module in modules() if not room(module)]
    assert placeless == [], "give them a place in FLOORS"
    rooms = {room(module) for module in modules()}
    assert set(FLOOR_OF) - rooms == set(), "names in FLOORS without a file"


def test_imports_run_down() -> None:
    upward = []
    for module, targets in imports().items():
        for target, line in targets.items():
            here, there = room(module), room(target)
            if here == there or FLOOR_OF[there] < FLOOR_OF[here]:
                continue
            beside = FLOOR_OF[there] == FLOOR_OF[here]
            if beside and not is_package(here) and not is_package(there):
                continue
            where = "beside it" if beside else "above it"
            upward.append(f"{shown(module)}:{line} ({here}) imports {target}, {where}")
    assert not upward, "\n".join(upward)


def test_no_circle_of_files() -> None:
    assert circle(imports()) == ""


def test_no_circle_of_packages() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FLOOR_OF}
    for module, targets in imports().items():
        graph[room(module)] |= {room(target) for target in targets} - {room(module)}
    assert circle(graph) == ""


def test_imports_name_the_whole_path() -> None:
    wrong = []
    for module in modules():
        for node in nodes(module):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = ["." * node.level + (node.module or "")]
            bare = [n for n in names if n.split(".")[0] in ("", *FOLDERS[1:])]
            wrong += [f"{shown(module)}: {name}" for name in bare]
    assert wrong == [], "expected robustssm.attacks..., never relative or bare"


def test_one_module_under_one_name() -> None:
    import robustssm.attacks
    from robustssm import attacks

    assert attacks is robustssm.attacks
    assert Path(attacks.__file__ or "").parent == ROOT / "attacks"


def test_numerics_need_no_torch() -> None:
    numerics = [
        module
        for module in modules()
        if any(name in WITHOUT_TORCH for name in (module, *ancestors(module)))
        and module not in WITH_TORCH
    ]
    assert len(numerics) > len(WITHOUT_TORCH)
    command = [sys.executable, "-c", WITHOUT, *numerics]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stdout + finished.stderr


@pytest.mark.parametrize("folder", LOOSE)
def test_few_loose_files(folder: str) -> None:
    assert len(list((ROOT / folder).glob("*.py"))) <= LOOSE[folder]


def test_no_file_outside_a_package() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["setup.py"]
    homeless = [p for p in modules().values() if not (p.parent / "__init__.py").is_file()]
    assert homeless == []


def test_files_are_short() -> None:
    lengths = {shown(module): modules()[module].read_text().count("\n") for module in modules()}
    long = {name for name, length in lengths.items() if length > LONGEST}
    assert long - set(LONG) == set(), f"split what is longer than {LONGEST} lines, or give a reason"
    assert set(LONG) - long == set(), "no longer long: take them out of LONG"


def is_command(function: ast.FunctionDef) -> bool:
    decorators = (ast.unparse(node) for node in function.decorator_list)
    return any(text.startswith(("click.", "shared(")) or ".command" in text for text in decorators)


def test_functions_have_few_parameters() -> None:
    wide = set()
    for module in modules():
        for function in nodes(module):
            if not isinstance(function, ast.FunctionDef):
                continue
            given = function.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > MOST and not is_command(function):
                wide.add(f"{module}.{function.name}")
    assert wide - WIDE == set(), f"more than {MOST} parameters: let a dataclass carry them"
    assert WIDE - wide == set(), "narrow by now: take them out of WIDE"


def test_public_functions_have_docstrings() -> None:
    missing = []
    for module in modules():
        body = tree(module).body
        classes = [node for node in body if isinstance(node, ast.ClassDef)]
        for node in [*body, *(inner for c in classes for inner in c.body)]:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            if not ast.get_docstring(node):
                missing.append(f"{shown(module)}: {node.name}")
    assert missing == []
