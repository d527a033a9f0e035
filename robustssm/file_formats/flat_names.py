"""Tensors of nested tables by their names: the path to each, joined."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from robustssm.file_formats.contents import ContentsError, Limits, require, shown

T = TypeVar("T")
_NAME = 500


def is_name(key: object) -> bool:
    """Return whether `key` may be the name of a tensor: a printable text of usual length."""
    return isinstance(key, str) and len(key) <= _NAME and key.isprintable()


@dataclass
class Flat(Generic[T]):
    """Collects the leaves of nested tables; visits are counted, of shared tables each time.

    joined: what stands between names; leaf: returns the tensor that a value is, None if it is
    none; otherwise: what a file has to be like, for the message about a value that is no tensor.
    """

    joined: str
    leaf: Callable[[object], T | None]
    limits: Limits
    otherwise: str
    tensors: dict[str, T] = field(default_factory=dict)
    visited: int = 0

    def take(self, table: Mapping[object, object], prefix: str = "", depth: int = 0) -> None:
        """Add the tensors of a table; raises ContentsError if it holds something else."""
        limits = self.limits
        require(depth <= limits.nesting, f"its tables are nested more than {limits.nesting} deep")
        self.visited += 1 + len(table)
        require(self.visited <= limits.values, f"holds more than {limits.values} entries")
        for key, value in table.items():
            if not is_name(key):
                raise ContentsError(f"a tensor is named {shown(key)}, expected a printable name")
            name = f"{prefix}{key}"
            tensor = self.leaf(value)
            if tensor is not None:
                require(name not in self.tensors, f"two tensors are named {shown(name)}")
                self.tensors[name] = tensor
                problem = f"holds more than {limits.tensors} tensors"
                require(len(self.tensors) <= limits.tensors, problem)
            elif isinstance(value, dict):
                self.take(value, f"{name}{self.joined}", depth + 1)
            elif value is not None:
                raise ContentsError(f"holds {shown(value)} under {shown(name)}, {self.otherwise}")


def put(tree: dict[object, object], path: list[str], leaf: object) -> None:
    """Put a leaf into nested tables; raises ContentsError if its place is taken."""
    for key in path[:-1]:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ContentsError(f"its metadata name {'.'.join(path)}, within another array")
        tree = inner
    require(path[-1] not in tree, f"its metadata name {'.'.join(path)} twice")
    tree[path[-1]] = leaf
