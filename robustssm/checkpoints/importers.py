"""Checkpoints of any format: recognised by what a file holds, never by its name."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from robustssm.checkpoints import dss, linoss, lru, mamba, s5, s5_pytorch, state_spaces
from robustssm.checkpoints.cards import STORED_ACCURACY
from robustssm.checkpoints.imported import Imported
from robustssm.checkpoints.native import Checkpoint, is_native, load_checkpoint, unknown_checkpoint
from robustssm.checkpoints.overrides import own_code
from robustssm.errors import RejectedInputError, UsageError
from robustssm.file_formats import Contents, read_contents
from robustssm.file_formats.wrappers import one_network
from robustssm.plugins import Table


class Importer(NamedTuple):
    """How the checkpoints of a code base are recognised, and made into a network."""

    name: str
    recognises: Callable[[Contents], bool]
    build: Callable[[Contents, Mapping[str, str]], Imported]


_BUILT_IN = (
    Importer("state-spaces/s4", state_spaces.recognises, state_spaces.build),
    Importer("DSS", dss.recognises, dss.build),
    Importer("S5", s5.recognises, s5.build),
    Importer("minimal-LRU", lru.recognises, lru.build),
    Importer("LinOSS", linoss.recognises, linoss.build),
    Importer("s5-pytorch", s5_pytorch.recognises, s5_pytorch.build),
    Importer("Mamba", mamba.recognises, mamba.build),
)
IMPORTERS: Table[Importer] = Table(
    "robustssm.importers",
    {one.name: one for one in _BUILT_IN},
    lambda name, value: (
        "" if isinstance(value, Importer) and value.name == name else f"an Importer called {name}"
    ),
)
# Names of tensors that are shown if nothing is recognised.
_SHOWN = 4


def importer_of(contents: Contents) -> Importer:
    """Return the importer of what a file holds; RejectedInputError if there is none."""
    broken = []
    for name in IMPORTERS:
        try:
            if IMPORTERS[name].recognises(contents):
                return IMPORTERS[name]
        except UsageError as error:
            broken.append(f"; {error}")
    names = ", ".join(list(contents.tensors)[:_SHOWN]) or "none"
    raise RejectedInputError(
        f"checkpoint {contents.path}: a {contents.container} file with {len(contents.tensors)} "
        f"tensors ({names}, ...) in no layout that is known "
        f"({', '.join(IMPORTERS)}); {own_code(contents.path)}{''.join(broken)}"
    )


def known(contents: Contents) -> bool:
    """Return whether there is an importer of what a file holds."""
    with suppress(RejectedInputError):
        return bool(importer_of(contents))
    return False


def open_checkpoint(path: Path, settings: Mapping[str, str] | None = None) -> Checkpoint:
    """Return the checkpoint at `path`, of this project or of a code base that is known.

    settings: what the file does not say, by the names of the original's options. Nothing in the
    file is executed. What it does not say and no setting tells is asked for, or is the original's
    default and in the notes. Raises RejectedInputError if the file is damaged, altered or in no
    known layout, UsageError if a setting is needed, unknown or contradicts the file.
    """
    given = dict(settings or {})
    if is_native(path):
        if given:
            settled = "its card says all that is needed"
            raise UsageError(f"checkpoint {path}: {settled}; drop --set {', '.join(given)}")
        return load_checkpoint(path)
    contents, rest = one_network(read_contents(path), given, known)
    importer = importer_of(contents)
    imported = importer.build(contents, rest)
    training: dict[str, object] = {"source": importer.name, "family": imported.family}
    training["settings"] = given
    if imported.target is not None:
        training["target"] = imported.target
    notes = (*contents.notes, *filter(None, (imported.reading,)), *imported.notes)
    stored = contents.extra.get(STORED_ACCURACY)
    if isinstance(stored, int | float) and math.isfinite(stored):
        training[STORED_ACCURACY] = stored
        epoch = contents.extra.get("epoch", "unknown")
        notes = (*notes, f"the file says acc={stored:g}, epoch={epoch!s:.20}")
    return unknown_checkpoint(imported.network, training, notes)
