"""Every sample of a run in one Parquet file, written in bounded memory."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.errors import UsageError
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.tables import finished
from robustssm.storage.writing import finite, new_file

# Raised when a column changes its meaning.
SCHEMA = 1
# Rows of a row group, so many are in memory: about 30 MB.
_ROWS = 1 << 18
_TEXT = (
    *("model", "task", "noise", "inject", "mode_unit", "eps_unit", "clip", "perturbation", "cell"),
)
_INTEGER, _FLOAT = pa.int64(), pa.float64()
_NUMBERS = {"train_seed": _INTEGER, "mode": _FLOAT, "eps": _FLOAT, "seed": _INTEGER}


def write_samples(state: Inspection, output: Path) -> int:
    """Write every sample of every finished cell into one Parquet file; return the rows written.

    Sorted by model, training seed, noise, mode, eps and sample id; what names the condition stands
    before the columns of the cells, text as dictionaries. Memory holds one row group. The schema's
    metadata `robustssm` is JSON: the manifest, and how many cells there are and ought to be.
    pandas.read_parquet and pyarrow.dataset read it in one call.
    """
    plan = finished(state)
    words = {name: pa.array(sorted(set(plan[name])), pa.string()) for name in _TEXT}
    sample = state.run.rows(plan["cell"].iloc[0])
    columns = pa.Schema.from_pandas(sample, preserve_index=False).remove_metadata()
    about = {"schema": SCHEMA, "run": state.manifest, **state.counts}
    schema = pa.schema(
        [
            *((n, pa.dictionary(pa.int32(), pa.string())) for n in _TEXT),
            *_NUMBERS.items(),
            *columns,
        ],
        metadata={"robustssm": json.dumps(finite(about), sort_keys=True)},
    )
    written = 0
    with new_file(output) as partial, pq.ParquetWriter(partial, schema) as writer:
        waiting: list[pa.Table] = []
        for cell in plan.to_dict("records"):
            waiting.append(_cell_table(state, cell, words, schema))
            if sum(len(table) for table in waiting) >= _ROWS:
                written += _flush(writer, waiting)
        written += _flush(writer, waiting)
    return written


def _flush(writer: pq.ParquetWriter, waiting: list[pa.Table]) -> int:
    rows = sum(len(table) for table in waiting)
    if rows:
        writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
        waiting.clear()
    return rows


def _cell_table(
    state: Inspection, cell: dict[str, Any], words: dict[str, pa.Array], schema: pa.Schema
) -> pa.Table:
    rows = state.run.rows(cell["cell"]).sort_values("sample_id", kind="stable")
    found = {}
    for name, dictionary in words.items():
        place = dictionary.index(cell[name]).as_py()
        codes = pa.repeat(pa.scalar(place, pa.int32()), len(rows))
        found[name] = pa.DictionaryArray.from_arrays(codes, dictionary)
    for name, kind in _NUMBERS.items():
        found[name] = pa.repeat(pa.scalar(cell[name], kind), len(rows))
    try:
        found |= {n: pa.array(rows[n].to_numpy()) for n in schema.names if n not in found}
    except KeyError as error:
        raise UsageError(
            f"run {state.run.path}: cell {cell['cell']} lacks the column {error}; its cells are of "
            "different versions, run that sweep again with --overwrite"
        ) from None
    return pa.table(found).select(schema.names).cast(schema)
