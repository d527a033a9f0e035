"""Perturbations as users write them: `BandNoise(1, 16, eps=0.3)`; read, never evaluated."""

import ast
import dataclasses
import io
import tokenize
from collections import ChainMap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from robustssm.arguments import fits
from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.base import Attack, Perturbation
from robustssm.attacks.budget import Budget
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.attacks.windows import Window
from robustssm.errors import UsageError, require_one_of
from robustssm.plain_text import number, whole
from robustssm.plugins import Table

_BUDGET = ("eps", "unit", "clip", "low", "high")
_TABLE: Mapping[str, type[Attack]] = ChainMap({"Window": Window}, ADVERSARIES, FAMILIES)  # type: ignore[arg-type]
# Characters of an expression.
_LONGEST = 10_000
_CONSTANTS = {"inf": float("inf"), "nan": float("nan")}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def parse_perturbation(text: str, site: str | None = None) -> tuple[Perturbation, Budget]:
    """Return the perturbation and budget that an expression names.

    If a family has a field of a budget's name (a filter's `low`), the name means the field. Raises
    UsageError if the expression is not understood, or its budget does not suit the family.

    Parameters
    ----------
    text : str
        `Fourier(3, phase='cosine', eps=0.3, unit='rms')`: the family's own fields, and eps, unit,
        clip, low, high of the budget. Transforms are applied whole if no eps is given.
    site : str, optional
        `input`, `layers` or `model`; by default the family's usual one.
    """
    perturbation, settings = parse_expression(text)
    if not isinstance(perturbation, Perturbation):
        raise UsageError(f"{perturbation.who}: is an adversary, which needs a model; use sweep")
    if "eps" not in settings and perturbation.unit != "mix":
        raise UsageError(f"perturbation: {text!r} has no strength; add eps=, as in eps=0.3")
    return perturbation, make_budget(text, settings, perturbation, site)


def parse_expression(
    text: str,
    names: Mapping[str, Any] = _NOTHING,
    extra: Mapping[str, Any] = _NOTHING,
) -> tuple[Attack, dict[str, Any]]:
    """Return the attack of an expression, and its settings of the budget as they stand.

    names: values of further words in the expression; extra: further fields, for the attack that has
    them. Raises UsageError.
    """
    name, positional, named = _tree(text)
    words = {**_CONSTANTS, **names}
    try:
        values = [_literal(node, words, extra) for node in positional]
        given = {key: _literal(node, words, extra) for key, node in named.items()}
    except UsageError:
        raise
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise _wrong(text) from None
    require_one_of("perturbation:", name, _TABLE)
    fields = _fields(name)
    settings = {key: given.pop(key) for key in _BUDGET if key in given and key not in fields}
    own = {key: value for key, value in extra.items() if key in fields}
    return _TABLE[name](*values, **given, **own), settings


def make_budget(
    text: str, settings: Mapping[str, Any], attack: Attack, site: str | None = None
) -> Budget:
    """Return the budget of an expression's settings; the unit follows from family and site."""
    unit = attack.default_unit(site or attack.sites[0])
    numbers = [settings[key] for key in ("eps", "low", "high") if key in settings]
    words = [settings[key] for key in ("unit", "clip") if key in settings]
    if not (all(fits(v, float) for v in numbers) and all(fits(w, str) for w in words)):
        raise UsageError(f"perturbation: the budget in {text!r} is not made of numbers")
    budget = Budget(**{"unit": unit, "eps": 1.0, **settings})
    attack.check_budget(budget, site or attack.sites[0])
    return budget


def words_in(text: str) -> set[str]:
    """Return the words that stand for values in an expression; UsageError if it is none."""
    name, positional, named = _tree(text)
    require_one_of("perturbation:", name, _TABLE)
    nodes = [node for part in (*positional, *named.values()) for node in ast.walk(part)]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def counts_frequencies(text: str) -> bool:
    """Return whether the attack of an expression has frequencies in a unit that can be named."""
    names = {_tree(text)[0], *words_in(text)} & {*_TABLE}
    return any("frequency_unit" in _fields(name) for name in names)


def origin(attack: Attack) -> str:
    """Return the package and version that an attack comes from; empty if it is built in."""
    attack = attack.of if isinstance(attack, Window) else attack
    table: Table[Any] = FAMILIES if isinstance(attack, Perturbation) else ADVERSARIES
    return table.origin(type(attack).__name__)


def _fields(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(_TABLE[name])}  # type: ignore[arg-type]


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"perturbation: {text[:200]!r} is not understood, expected as in Fourier(3, eps=0.3)"
    )


def _check_text(text: str) -> None:
    """Raise UsageError for a text that is too long, or has a number that is not spelt in tens."""
    if len(text) > _LONGEST:
        raise UsageError(
            f"perturbation: {text[:40]!r}... has {len(text)} characters, expected {_LONGEST} or "
            "fewer"
        )
    try:
        for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
            if token.type == tokenize.NUMBER:
                number(token.string)
                if token.string.isdecimal():
                    whole(token.string)
            elif token.type == tokenize.NAME and not token.string.isascii():
                raise _wrong(text)
    except (tokenize.TokenError, SyntaxError):
        raise _wrong(text) from None
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"perturbation: {text[:200]!r} is not understood: {error}") from None


def _tree(text: str) -> tuple[str, list[ast.expr], dict[str, ast.expr]]:
    """Return the name and the arguments of a call expression as they are written."""
    _check_text(text)
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _wrong(text) from None
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise _wrong(text)
    names = [keyword.arg for keyword in node.keywords]
    if None in names or len(set(names)) < len(names):
        raise _wrong(text)
    return node.func.id, node.args, {str(k.arg): k.value for k in node.keywords}


def _literal(node: ast.expr, names: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    """Return the value of a literal, a known word or an attack; a list becomes a tuple."""
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _TABLE:
        attack, settings = parse_expression(ast.unparse(node), names, extra)
        if settings:
            raise UsageError(f"{attack.who}: its strength is given outside of it, by eps")
        return attack
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand, names, extra)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(element, names, extra) for element in node.elts)
    return ast.literal_eval(node)
