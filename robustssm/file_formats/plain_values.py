"""Foreign values as plain data: dict, list, str, int, float, bool, None, and nothing else."""

import json
from pathlib import Path

from robustssm.file_formats.contents import ContentsError, Limits, require, shown
from robustssm.file_formats.pickle_globals import Global, Made
from robustssm.storage.opening import opened, size_of

# Larger integers are no hyper-parameters, and take long to write in decimals.
_BITS = 128


class Plain:
    """Makes copies of values, within the limits on their number and depth.

    A table that occurs in many places is copied to each, so that a small file which multiplies
    tables is refused, not unfolded.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._left = limits, limits.values

    def __call__(self, value: object, depth: int = 0) -> object:
        """Return the value as plain data; raises ContentsError if it is something else."""
        self._left -= 1
        limits = self._limits
        require(self._left >= 0, f"holds more than {limits.values} hyper-parameters")
        require(depth <= limits.nesting, f"its tables are nested more than {limits.nesting} deep")
        if isinstance(value, Made):
            return self._made(value, depth)
        if isinstance(value, Global):
            return value.name
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, list | tuple):
            return [self(one, depth + 1) for one in value]
        if value is None or isinstance(value, int | float):
            if isinstance(value, int) and value.bit_length() > _BITS:
                raise ContentsError(f"holds an integer of more than {_BITS} bits")
            return value
        if isinstance(value, str):
            return _text(value)
        raise ContentsError(
            f"its hyper-parameters hold {shown(value)}, expected plain values; "
            "save the state_dict alone and give the options by --set"
        )

    def _made(self, value: Made, depth: int) -> object:
        kind = value.name.rpartition(".")[2]
        held = "_content" if kind in ("DictConfig", "ListConfig") else "_val"
        for attributes in value.attributes:
            if value.name.startswith("omegaconf.") and held in attributes:
                return self(attributes[held], depth + 1)
        if kind in ("Namespace", "AttributeDict"):
            table = dict(value.items)
            for attributes in value.attributes:
                table.update(attributes)
            return self._dict(table, depth)
        raise ContentsError(
            f"its hyper-parameters hold an odd {kind}, expected plain values; "
            "save the state_dict alone and give the options by --set"
        )

    def _dict(self, value: dict[object, object], depth: int) -> dict[str, object]:
        table: dict[str, object] = {}
        for key, one in value.items():
            if not isinstance(key, str | int | float | bool | None):
                raise ContentsError(f"a table has {shown(key)} as a key, expected a name")
            name = _text(key) if isinstance(key, str) else str(key)
            if name in table:
                raise ContentsError(f"a table has two entries {shown(name)}")
            table[name] = self(one, depth + 1)
        return table


def read_json(path: Path, limits: Limits) -> dict[str, object]:
    """Return the table in a JSON file; raises ContentsError if it is none or too large."""
    with opened(path) as file:
        size = size_of(file)
        problem = f"{path.name} has {size} bytes, allowed are {limits.json_bytes}"
        require(size <= limits.json_bytes, problem)
        content = file.read(size)
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise ContentsError(
            f"{path.name} is no JSON that can be read ({error}); fetch it again"
        ) from error
    if not isinstance(value, dict):
        raise ContentsError(f"{path.name} holds {shown(value)}, expected a table")
    table = Plain(limits)(value)
    assert isinstance(table, dict)
    return table


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a table has the same name twice")
    return table


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ContentsError("holds a text that is no Unicode; the file is damaged") from error
    return value
