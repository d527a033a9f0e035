"""What users import documents every parameter: numpydoc sections, read without an import."""

import ast
import re

from tests.source_tree import modules, tree

# Packages whose `__all__` is what users may rely on.
PACKAGES = (
    "robustssm",
    "robustssm.attacks",
    "robustssm.attacks.adversaries",
    "robustssm.checkpoints",
    "robustssm.tasks",
    "robustssm.layers",
    "robustssm.file_formats",
    "robustssm.plugins",
    "robustssm.testing",
)
# Modules, and packages with a trailing point, whose public functions and classes users call.
MODULES = (
    "robustssm.networks.classifier",
    "robustssm.evaluations.results.tables",
    "robustssm.evaluations.sweep.plan",
    "robustssm.evaluations.sweep.run",
    "robustssm.evaluations.sweep.conditions",
)
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: :.*)?$", re.MULTILINE)


def sections(node: ast.FunctionDef | ast.ClassDef) -> dict[str, str]:
    """Return the numpydoc sections of a docstring by their headings."""
    parts = SECTION.split(ast.get_docstring(node) or "")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Return the names that the sections Parameters, Other Parameters and Attributes explain."""
    known = sections(node)
    texts = [known.get(name, "") for name in ("Parameters", "Other Parameters", "Attributes")]
    groups = (group for text in texts for group in ENTRY.findall(text))
    return {name.lstrip("*") for group in groups for name in group.split(", ")}


def parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    starred = [argument for argument in (given.vararg, given.kwarg) if argument]
    return [a.arg for a in (*named, *starred) if a.arg not in ("self", "cls")]


def fields(node: ast.ClassDef) -> list[str]:
    """Return the annotated fields of a named tuple or a decorated class, without inherited ones.

    The decorators of classes here, `dataclass` and `family`, make dataclasses of them.
    """
    if not node.decorator_list and "NamedTuple" not in map(ast.unparse, node.bases):
        return []
    annotated = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    return [
        part.target.id
        for part in annotated
        if isinstance(part.target, ast.Name)
        and not part.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(part.annotation)
    ]


def undocumented(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [name for name in parameters(node) if name not in entries(node)]
    makers = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    known = entries(node).union(*(entries(maker) for maker in makers))
    wanted = [*fields(node), *(name for maker in makers for name in parameters(maker))]
    return [name for name in wanted if name not in known]


def definitions(module: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree(module).body if isinstance(node, kinds)}


def exported(package: str) -> list[tuple[str, str]]:
    """Return module and name of what a package's `__all__` hands on, or what it defines itself."""
    names: list[str] = [name for name in definitions(package) if name[0] != "_"]
    homes = dict.fromkeys(names, package)
    for node in ast.walk(tree(package)):
        if isinstance(node, ast.ImportFrom) and node.module in modules():
            homes |= {alias.name: node.module for alias in node.names}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = list(ast.literal_eval(node.value))
    return [(homes[name], name) for name in names if name in homes]


def public() -> list[tuple[str, str]]:
    """Return module and name of every function and class that users import."""
    pairs = [pair for package in PACKAGES for pair in exported(package)]
    for module in modules():
        if any(module == name or (name[-1] == "." and module.startswith(name)) for name in MODULES):
            pairs += [(module, name) for name in definitions(module) if name[0] != "_"]
    return sorted({(module, name) for module, name in pairs if name in definitions(module)})


def test_public_parameters_are_documented() -> None:
    lines = [
        f"{module}.{name}: {', '.join(names)}"
        for module, name in public()
        if (names := undocumented(definitions(module)[name]))
    ]
    assert not lines, "no entry under Parameters or Attributes:\n" + "\n".join(lines)


def test_every_listed_module_exists() -> None:
    assert [p for p in PACKAGES if p not in modules()] == []
    assert [m for m in MODULES if not any(k == m or k.startswith(m) for k in modules())] == []


PLANTED = '''
def f(a, b, *c, d=0):
    """Return b.

    Parameters
    ----------
    a, *c : int
        Two of four.

    Returns
    -------
    d : int
        No parameter.
    """

@dataclass(frozen=True)
class K:
    """Hold three numbers.

    Attributes
    ----------
    a
        One of two public ones.
    """

    a: int
    b: int
    _c: int

class M:
    """Hold x. x : int"""

    def __init__(self, x): ...
'''


def test_a_missing_entry_is_seen() -> None:
    found = [undocumented(node) for node in ast.parse(PLANTED).body]  # type: ignore[arg-type]
    assert found == [["b", "d"], ["b"], ["x"]]
