"""The card of a checkpoint: what is known of it besides its weights, and what a file may say of it.

A file's card is somebody's word: each field has a type and a range, and the sizes of an
architecture are held against the shapes of the tensors in the file before a network is built.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.plain_values import Plain
from robustssm.hippo.initializations import parse
from robustssm.hippo.matrix_files import MAX_ORDER
from robustssm.networks.network import Architecture
from robustssm.storage.json_files import SHARE, TABLE, TEXT, WHOLE, Form, checked, or_none
from robustssm.targets import CLASSES, Kind, Values

FORMAT = "robustssm-1"
# What scripts call the accuracy that they store beside the weights: in percent, or a share.
STORED_ACCURACY = "acc"
# What the settings of a training hold beside them, of a network that answers values.
CLEAN_R2 = "clean_r2"
Shapes = Mapping[str, tuple[int, ...]]
# What a card may hold: plain values in all, their depth.
_LIMITS = Limits(values=20_000, nesting=10)
_COUNT: Form = (lambda value: WHOLE[0](value) and value >= 0, "a whole number >= 0")
_FORMS: dict[str, Form] = {
    **dict.fromkeys(("architecture", "init_diagnostics", "training", "versions"), TABLE),
    **dict.fromkeys(("task", "task_hash", "command", "weights_sha256"), TEXT),
    **{"train_seed": _COUNT, "n_test": _COUNT, "clean_accuracy": or_none(SHARE)},
}
# State sizes beyond this take no poles but those of a formula.
_LARGEST_FORMULA = 1 << 16


@dataclass(frozen=True)
class Card:
    """What is known of a checkpoint besides its weights.

    Parameters
    ----------
    architecture : dict
        What the network is built from.
    init_diagnostics : dict
        kappa(V), |E|/|A|, max Re lambda and backward error of the initialisation.
    task, task_hash : str
        Name and content hash of the training's task; empty if unknown.
    train_seed : int
        Training seed.
    training : dict
        Settings of the training, or the source of an imported network.
    clean_accuracy : float or None
        Accuracy on the whole test split of `task`; None if unknown.
    n_test : int
        Samples of that split.
    command : str
        What made the file.
    weights_sha256 : str
        Hash of the weights (`weights_hash`).
    versions : dict
        Versions of the packages that made the file.
    """

    architecture: dict[str, object]
    init_diagnostics: dict[str, float]
    task: str
    task_hash: str
    train_seed: int
    training: dict[str, object]
    clean_accuracy: float | None
    n_test: int
    command: str
    weights_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> str:
        """The architecture in a line: its kind and what sizes are on the card."""
        known = self.architecture
        named = {"layers": "{} layers", "d_model": "width {}", "n": "state size {}"}
        sizes = [words.format(known[key]) for key, words in named.items() if key in known]
        kind = next((known[key] for key in ("init", "source", "kind") if key in known), "")
        return ": ".join(filter(None, (str(kind), ", ".join(sizes))))

    def measured(self, kind: Kind, clean: float) -> "Card":
        """Return the card with what `Kind.quality` is of the clean test split."""
        if isinstance(kind, Values):  # R2 may be below 0, which no accuracy is
            return replace(self, training={**self.training, CLEAN_R2: clean})
        return replace(self, clean_accuracy=clean)

    def against_stored(self, measured: float | None) -> str:
        """Return how a measured accuracy lies to the one that a file stored; empty without both."""
        stored = self.training.get(STORED_ACCURACY)
        if not isinstance(stored, int | float) or measured is None or math.isnan(measured):
            return ""
        apart = abs(measured - (stored / 100.0 if stored > 1.0 else stored))
        return f"clean accuracy {measured:.4f}, acc={stored:g} in the file: {apart:.4f} apart"

    @property
    def target(self) -> str | None:
        """Name of the kind of target that the network answers with; None if nothing tells it."""
        if "kind" in self.architecture:
            return self.training.get("target")  # type: ignore[return-value]
        return str(self.architecture.get("target", CLASSES.name))

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True)


def card_of(text: str) -> Card:
    """Return the card that a file's text holds; ContentsError says what is wrong with it."""
    try:
        content = Plain(_LIMITS)(json.loads(text))
    except RecursionError:
        raise ContentsError(f"its card is nested more than {_LIMITS.nesting} deep") from None
    except ValueError as error:  # JSON, or an integer of thousands of digits
        raise ContentsError(f"its card is no JSON ({shown(str(error))})") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ContentsError(f"its metadata hold no {FORMAT} card")
    try:
        return Card(**checked(content, _FORMS, set()))
    except (TypeError, ValueError) as error:
        said = error if isinstance(error, ValueError) else f"it has not the fields of {FORMAT}"
        raise ContentsError(f"its card is none: {said}") from None


def own_architecture(content: Mapping[str, Any], shapes: Shapes) -> Architecture:
    """Return the architecture of a card, whose sizes are those of the tensors in its file.

    Raises ContentsError or UsageError.
    """
    typed: dict[str, Any] = {}
    for one in fields(Architecture):
        if one.name not in content:
            continue
        value = content[one.name]
        kind = type(one.default) if one.name != "init" else str
        allowed = (int, float) if kind is float else (kind,)
        if type(value) not in allowed or (kind is float and not math.isfinite(value)):
            raise ContentsError(f"its architecture has {one.name} {shown(repr(value))}")
        typed[one.name] = value
    unknown = sorted(content.keys() - typed.keys())
    if unknown or "init" not in typed:
        raise ContentsError(f"its architecture has {shown(', '.join(unknown)) or 'no init'}")
    made = Architecture(**typed)
    widths = {"mean": (made.d_input,), "decoder.weight": (made.d_output, made.d_model)}
    if made.tokens:
        widths["embedding.weight"] = (made.tokens, made.d_model)
    for name, shape in widths.items():
        if shapes.get(name) != shape:
            raise ContentsError(
                f"its card says {list(shape)} for {name}, which is {_spelt(shapes, name)}"
            )
    check_blocks(made.layers, shapes)
    readouts = [s for name, s in shapes.items() if ".ssm." in name and name.endswith(".C")]
    # Modes that are stored, one of each conjugate pair.
    modes = {shape[1] for shape in readouts if shape[:1] == (made.d_model,) and len(shape) == 3}
    most = MAX_ORDER if parse(made.init).method is not None else _LARGEST_FORMULA
    if made.n > most or not modes or not max(modes) <= made.n <= 2 * min(modes):
        raise ContentsError(
            f"its card says state size {made.n}, its readouts have the shapes "
            f"{shown(str(readouts[:4]))}, expected half of it in the middle and at most {most}"
        )
    return made


def check_blocks(count: int, shapes: Shapes) -> None:
    """Raise ContentsError unless the tensors are those of so many blocks."""
    numbers = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    if count != len(numbers):
        raise ContentsError(f"its card says {count} layers, its tensors are of {len(numbers)}")


def check_shapes(expected: Shapes, there: Shapes) -> None:
    """Raise ContentsError unless the tensors of a file are those of its architecture."""
    for name in sorted({*expected, *there}):
        if expected.get(name) != there.get(name):
            raise ContentsError(
                f"its architecture has {name} {_spelt(expected, name)}, the file "
                f"{_spelt(there, name)}"
            )


def _spelt(shapes: Shapes, name: str) -> str:
    return str(list(shapes[name])) if name in shapes else "not at all"
