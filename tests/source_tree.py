"""The product's source, read once: modules, their imports, what is public in them."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("robustssm", "attacks", "evaluations", "figures")


def module_name(path: Path) -> str:
    """Return the name by which a file is imported: `robustssm.attacks.base` of attacks/base.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "robustssm" else ("robustssm", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module."""
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {module_name(path): path for path in files}


@cache
def tree(module: str) -> ast.Module:
    """Return the parsed file of a module."""
    return ast.parse(modules()[module].read_text())


@cache
def nodes(module: str) -> list[ast.AST]:
    """Return every import and every function of a module, at any depth."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    return [node for node in ast.walk(tree(module)) if isinstance(node, kinds)]


@cache
def ancestors(name: str) -> list[str]:
    """Return the packages that a name lies in, the nearest first."""
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(len(parts) - 1, 0, -1)]


def imported_names(node: ast.AST) -> list[str]:
    """Return the full names that one statement imports; none for any other node."""
    match node:
        case ast.Import(names=aliases):
            return [alias.name for alias in aliases]
        case ast.ImportFrom(module=module, names=aliases, level=level):
            return [f"{'.' * level}{module or ''}.{alias.name}" for alias in aliases]
    return []


@cache
def imports() -> dict[str, dict[str, int]]:
    """Return, for every module, the modules that it imports and the line of each.

    Imports inside functions count: they run as well. So do those under TYPE_CHECKING: a file that
    names a type of another one cannot be read without it. An import of a.b.c runs a/__init__.py and
    a/b/__init__.py, which count too, except for the packages that the importing file lies in. Texts
    that name a module do not count: the table of tasks holds such texts, and one of its tasks
    (`noise_padded`) is made of another task, which it looks up there by name.
    """
    graph: dict[str, dict[str, int]] = {}
    for module in modules():
        arrows: dict[str, int] = {}
        for node in nodes(module):
            for name in imported_names(node):
                run = [part for part in (name, *ancestors(name)) if part in modules()]
                for target in run:
                    if target != module and target not in ancestors(module):
                        arrows.setdefault(target, getattr(node, "lineno", 0))
                if run[:1] and run[0] in ancestors(module):
                    arrows.setdefault(run[0], getattr(node, "lineno", 0))
        graph[module] = arrows
    return graph
