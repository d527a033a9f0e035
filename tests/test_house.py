"""The plan of the house: imports run one way, and one name leads to one module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What each folder may import of the others, besides itself.
FLOORS = {
    "robustssm": set(),
    "attacks": {"robustssm"},
    "evaluations": {"robustssm", "attacks"},
    "figures": {"robustssm", "attacks", "evaluations"},
    "top": {"robustssm", "attacks", "evaluations", "figures"},
}
TOP = {"cli.py", "commands", "pytest_plugin.py"}


def floor_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "robustssm":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "robustssm"


def sources() -> list[Path]:
    folders = ("robustssm", "attacks", "evaluations", "figures")
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    own = "top" if parts[0] == "robustssm" and parts[1] in TOP else parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [node.module or ""]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            assert name.split(".")[0] not in ("attacks", "evaluations", "figures"), name
            floor = floor_of(name)
            assert floor is None or floor == own or floor in FLOORS[own], f"{own} imports {name}"
            if own != "top":
                assert not name.startswith(("robustssm.cli", "robustssm.commands")), name


def test_numerics_need_no_torch() -> None:
    for name in ("hippo", "spectrum", "diagonalize", "initializations", "ptd_optimizer"):
        assert "import torch" not in (ROOT / "robustssm" / f"{name}.py").read_text()


def test_one_module_under_one_name() -> None:
    import robustssm.attacks
    from robustssm import attacks

    assert attacks is robustssm.attacks
    assert Path(attacks.__file__ or "").parent == ROOT / "attacks"


def test_public_functions_are_documented() -> None:
    missing = []
    for path in sources():
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(inner for c in classes for inner in c.body)]:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            if not ast.get_docstring(node):
                missing.append(f"{path.name}: {node.name}")
    assert missing == []
