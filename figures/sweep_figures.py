"""The figures of a sweep, from its stored tables alone: curves, heat maps, worst cases."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustssm.errors import UsageError, require_one_of
from robustssm.evaluations.results.tables import Tables
from robustssm.evaluations.sweep.run_directory import DRAWN
from robustssm.storage.opening import read_text
from robustssm.storage.writing import write_atomically

KINDS = ("robustness", "heat-maps", "differences", "worst-case")
# Noises of one run that get maps and worst cases; each takes a few seconds.
MOST_NOISES = 6


def draw_tables(
    tables: Tables,
    folder: Path,
    *,
    chance: float,
    length: int,
    partial: bool,
    kinds: Sequence[str] = KINDS,
    reference: str | None = None,
    spikes: Mapping[float, float] | None = None,
) -> list[Path]:
    """Draw the figures of a run with perturbed cells from its tables; return the files.

    Heat maps need two modes and two strengths, differences two models besides, worst cases two
    modes; what does not apply is left out. chance, length: accuracy of guessing, and steps of a
    sample, as the manifest has them; partial: whether only the first samples were used; kinds: of
    KINDS; reference: the model from which differences are taken, the first one if None; spikes:
    omega of each by its number. Raises UsageError for an unknown kind or reference.
    """
    # What draws takes a second to import, which a sweep with its figures there does without.
    from robustssm.figures import heat_maps, robustness, worst_case

    for kind in kinds:
        require_one_of("figures:", kind, KINDS)
    summary = tables.summary
    models = list(dict.fromkeys(summary["model"]))
    if reference is not None and reference not in models:
        raise UsageError(f"reference: got {reference!r}, expected one of {', '.join(models)}")
    base = reference or models[0]
    task = str(summary["task"].iloc[0])
    files: list[Path] = []
    if "robustness" in kinds:
        given: dict[str, Any] = {"length": length, "partial": partial, "spikes": spikes}
        files += robustness.draw_all(summary, folder, chance=chance, **given)
    frame, worst = robustness.data(summary), worst_case.data(tables.overview)
    names = robustness.figure_names(frame["noise"])
    for noise, name in list(names.items())[:MOST_NOISES]:
        tail = name.removeprefix("robustness")
        facts: dict[str, Any] = {"noise": noise, "task": task, "partial": partial}
        own = frame[frame["noise"] == noise]
        # Units and sites are never mixed in one map.
        one_kind = len(own[["eps_unit", "inject"]].drop_duplicates()) == 1
        maps = one_kind and heat_maps.drawable(own)
        if "heat-maps" in kinds and maps:
            stem = folder / f"heat-map{tail}"
            files += heat_maps.draw_maps(own, stem, chance=chance, **facts)
        if "differences" in kinds and maps and len(set(own["model"])) > 1:
            found = heat_maps.differences(own, tables.tests, base)
            files += heat_maps.draw_differences(found, folder / f"difference{tail}", **facts)
        one = worst[worst["noise"] == noise]
        if "worst-case" in kinds and len(one):
            stem = folder / f"worst-case{tail}"
            files += worst_case.draw_worst(one, stem, chance=chance, **facts)
    return files


def keep_drawn(tables: Tables, folder: Path, **facts: Any) -> None:
    """Draw the figures of a run, unless they are there as drawn from these very tables.

    Figures on record that are not drawn any more are removed; other files stay. facts: further
    arguments of `draw_tables`.
    """
    drawn_from = (tables.summary, tables.tests, tables.overview)
    texts = [table.to_csv(index=False) for table in drawn_from]
    digest = hashlib.sha256("\0".join([*texts, str(sorted(facts.items()))]).encode()).hexdigest()
    before, old = _recorded(folder)
    if before == digest and all((folder / name).is_file() for name in old):
        return
    if (folder / DRAWN).is_file():  # what is drawn next is of no digest until all of it is there
        _record(folder, "", old)
    files = draw_tables(tables, folder, **facts)
    names = [path.name for path in files]
    for name in set(old) - set(names):
        (folder / name).unlink(missing_ok=True)
    _record(folder, digest, names)


def also_drawn(folder: Path, files: Sequence[Path]) -> None:
    """Add figures to those on record in a folder: a sweep with --overwrite removes them, too."""
    digest, names = _recorded(folder)
    _record(folder, digest, {*names, *(path.name for path in files)})


def _recorded(folder: Path) -> tuple[str, list[str]]:
    """Return what the figures on record were drawn from, empty if unknown, and their names."""
    mark = folder / DRAWN
    digest, *names = (read_text(mark).splitlines() if mark.is_file() else []) or [""]
    return digest, names


def _record(folder: Path, digest: str, names: Collection[str]) -> None:
    write_atomically(folder / DRAWN, "\n".join([digest, *sorted(names)]).encode())
