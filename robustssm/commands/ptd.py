"""`robustssm theory ptd`: make, inspect and compare perturb-then-diagonalize initialisations."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import common, terminal
from robustssm.commands.common import SharedOptions, choice, output, shared
from robustssm.errors import RejectedInputError, UsageError, require

if TYPE_CHECKING:
    import pandas as pd

    from robustssm.evaluations.initializations.trade_off import Report
    from robustssm.hippo.diagonalize import Diagonalization

METHODS = ("all", "rank1", "clipped", "optimized", "random", "corner")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@common.state_size("sizes", default="16,32,64", metavar="SIZES", help="State sizes.")
@choice("--method", of=METHODS, help="Make this one.")
@click.option("--tau", type=float, help="rank1, clipped: parameter tau of the family, default 0.1.")
@click.option("--size", type=float, help="random, corner: |E|, 2-norm.")
@click.option("--relative-norm", type=float, help="random, corner: |E| / |A| instead.")
@click.option("--seed", default=0, help="random, optimized: seed.")
@click.option("--restarts", type=int, help="optimized: optimise anew from this many starts.")
@click.option(
    "--readout",
    "readouts",
    default="e0",
    metavar="READOUT[,READOUT]",
    help="Readouts: e0,ones,random:0.",
)
@click.option("--study", "studied", is_flag=True, help="kappa against error for every method.")
@click.option("--matrix", "matrices", multiple=True, help="--study: name=path of .mat or .npz.")
@output(help="FILE.npz; --study: a folder.")
@shared("style", "progress")
def ptd(
    file: Path | None,
    sizes: str,
    method: str,
    tau: float | None,
    size: float | None,
    relative_norm: float | None,
    seed: int,
    restarts: int | None,
    readouts: str,
    studied: bool,
    matrices: tuple[str, ...],
    output: Path | None,
    **options: Any,
) -> None:
    """Make and compare PTD initialisations.

    Perturb-then-diagonalize (PTD) of HiPPO-LegS: A + E is diagonalised in place of A.

    With --method one A + E is made, reported and, with -o, saved. With FILE a saved one or a MATLAB
    file of the PTD authors is reported. With --study all are compared. Otherwise a table is
    printed.

    \b
    Examples:
      robustssm theory ptd -n 16,32,64
      robustssm theory ptd --method rank1 --tau 0.05 -n 64 -o rank1.npz
      robustssm theory ptd rank1.npz --readout e0,ones,random:0
      robustssm theory ptd --study -n 16,32 --matrix theirs=ptb.mat -o runs/ptd
      robustssm theory ptd --method optimized -n 16 --restarts 8 -o n16.npz
    """
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.hippo.legs import check_order

    asked = SharedOptions(**options)
    if matrices and not studied:
        raise UsageError("ptd: --matrix belongs to --study; give the file alone to inspect it")
    if sum([bool(file), studied, method != "all"]) > 1:
        raise UsageError("ptd: FILE, --study and --method exclude one another; keep one")
    settings: dict[str, Any] = {"tau": tau, "size": size, "relative_norm": relative_norm}
    settings |= {"restarts": restarts}
    foreign = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    if file is not None:
        foreign |= {"-o": output}
    named = [name for name, value in foreign.items() if value is not None]
    if named and (studied or file is not None):
        what = "--study" if studied else "a file to inspect"
        raise UsageError(f"ptd: {', '.join(named)} does not belong to {what}; leave it out")
    if file is not None:
        _inspect(file, readouts, asked.style)
        return
    orders = [check_order(n, minimum=2) for n in parse_modes(sizes, "state size")]
    if studied:
        _study(orders, matrices, output, asked)
        return
    if method == "all":
        if named or output:
            raise UsageError("ptd: settings and -o belong to one method; add --method or --study")
        _compare(orders, asked.style)
        return
    if len(orders) != 1:
        raise UsageError(f"ptd: --method {method} makes one initialisation; give one -n")
    fits = output is None or output.suffix == ".npz"
    require(fits, "ptd: -o", output, "a name that ends in .npz")
    from robustssm.hippo.ptd_methods import make

    made = make(
        method,
        orders[0],
        **settings,
        seed=seed if method == "random" or restarts else None,
    )
    _show(made, readouts, asked.style, output)


def _inspect(path: Path, readouts: str, style: str) -> None:
    from robustssm.hippo.diagonalize import perturb
    from robustssm.hippo.matrix_files import load_initialization

    if not path.is_file():
        raise RejectedInputError(f"ptd: {path} does not exist, expected an .npz or .mat file")
    stored = load_initialization(path)
    terminal.note(f"{path}: sha256 {stored.sha256}")
    method = str(stored.meta.get("method", "given"))
    _show(perturb(stored.E, method, B=stored.B, stable=False), readouts, style, None)


def _show(made: "Diagonalization", readouts: str, style: str, output: Path | None) -> None:
    from dataclasses import asdict

    from robustssm.evaluations.initializations.readouts import read_readout
    from robustssm.evaluations.initializations.trade_off import report
    from robustssm.hippo.matrix_files import save_initialization

    words = [word.strip() for word in readouts.split(",")]
    result = report(made, {word: read_readout(word, len(made.B_E)) for word in words})
    settings = [f"{key} {value}" for key, value in made.settings.items()]
    title = ", ".join([made.method, f"n = {result.n}", *settings])
    names = ("quantity", "value", "note")
    rows = [dict(zip(names, row, strict=True)) for row in _rows(result)]
    content = {"settings": dict(made.settings), **asdict(result)}
    terminal.show(style, terminal.Table(title, rows), content=content)
    if output is not None:
        terminal.note(f"wrote {output}: sha256 {save_initialization(output, made)}")


def _rows(result: "Report") -> list[list[str]]:
    rows = [
        ["kappa(V)", f"{result.kappa:.6g}", "2-norm, unit eigenvectors"],
        ["|E|", f"{result.norm:.6g}", "2-norm"],
        ["|E| / |A|", f"{result.relative_norm:.6g}", ""],
        ["|B_E - B| / |B|", f"{result.input_change:.6g}", "input matrix"],
        ["max Re lambda", f"{result.max_real:.6g}", "" if result.stable else "unstable"],
        ["backward error", f"{result.backward_error:.3g}", "relative, Frobenius"],
    ]
    for name, sup in result.errors.items():
        who = "worst unit readout" if name == "worst" else f"readout {name}"
        note = f"at omega = {sup.omega:.6g}; certified, at most {sup.relative_gap:.0e} above"
        rows.append([f"sup error, {who}", f"{sup.low:.6g}", note])
    if not result.stable:
        rows.append(["sup error", "-", "unstable: no transfer function on the imaginary axis"])
    for bound in result.bounds:
        label = {"paper": "(2 ln n + 4) |E|", "sharp": "2 (|E| + |B_E - B|) / (1 - 2 |E|)"}
        value = "-" if bound.value is None else f"{bound.value:.6g}"
        error = "" if bound.measured is None else f"measured {bound.measured:.6g}; "
        rows.append([f"bound {label[bound.name]}", value, error + bound.note])
    return rows


def _study(
    orders: list[int],
    matrices: tuple[str, ...],
    output: Path | None,
    asked: SharedOptions,
) -> None:
    from robustssm.evaluations.initializations.ptd_study import read_matrices, slopes, study
    from robustssm.evaluations.table_files import write_csv
    from robustssm.figures import trade_off as drawing

    folders = output is None or not output.suffix
    require(folders, "ptd: -o", output, "a folder for --study")
    folder = output or Path("runs") / "ptd-study"
    named = read_matrices(matrices)
    with asked.steps(len(orders) + len(named), "ptd study") as advance:
        measured = study(orders, matrices=named, advance=advance)
    fits = slopes(measured)
    drawing.draw_all(measured, folder)
    write_csv(folder / "slopes.csv", fits)
    terminal.note(f"figure and tables: {folder}")
    hidden = ("input_change", "stable", "worst_high", "worst_omega", "rank_one_error")
    rows = _table("kappa against the error of the worst unit readout", measured, hidden)
    slope_table = _table("slope of log kappa on log |E| / |A|, 95% interval", fits)
    content = {"rows": rows.records(), "slopes": slope_table.records()}
    terminal.show(asked.style, rows, slope_table, content=content)


def _compare(orders: list[int], style: str) -> None:
    from robustssm.evaluations.initializations.trade_off import ptd_table

    frame = ptd_table(orders)
    if style in ("table", "md"):  # a reason is longer than a cell
        for row in frame[frame["note"] != ""].itertuples(index=False):
            terminal.note(f"{row.init}, n = {row.n}: {row.note}")
    table = _table("Perturb-then-diagonalize, readout e0", frame, ("note",))
    terminal.show(style, table, content={"rows": table.records()})


def _table(title: str, frame: "pd.DataFrame", hidden: tuple[str, ...] = ()) -> terminal.Table:
    return terminal.Table(title, frame, terminal.spaced(frame, hidden), digits=".5g")
