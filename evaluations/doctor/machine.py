"""Checks of the machine: versions, room, and sweeps in several processes."""

import multiprocessing
import os
import platform
import shutil
import tempfile
from pathlib import Path

import threadpoolctl
import torch

from robustssm.evaluations.doctor.base import Finding, Setting, Subject, judge
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.execution import versions

_MIB = 2**20
# What a sweep of a thousand cells takes, and what a worker process does.
_DISK = 100 * _MIB
_MEMORY = 500 * _MIB


def environment(setting: Setting) -> Finding:
    """Look at versions, threads, disk and memory, and whether results can be written."""
    # The folder, or the nearest above it that is there.
    folder = next(p for p in (setting.folder, *setting.folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    memory = available_memory()
    started = multiprocessing.get_start_method(allow_none=True)
    started = started or multiprocessing.get_all_start_methods()[0]
    problems = []
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        problems.append(f"{setting.folder} is not writable")
    if free < _DISK:
        problems.append(f"{free // _MIB} MiB of disk are free at {setting.folder}")
    if memory is not None and memory < _MEMORY:
        problems.append(f"{memory // _MIB} MiB of memory are free")
    libraries = {
        f"{entry['internal_api']} {entry['version'] or ''}".strip()
        for entry in threadpoolctl.threadpool_info()
        if entry["user_api"] == "blas"
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return judge(
        "this machine with what a sweep needs",
        "things that are missing",
        len(problems),
        f"{_DISK // _MIB} MiB of disk, {_MEMORY // _MIB} MiB of memory, a writable folder",
        {
            "missing": "; ".join(problems),
            **versions(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": cores,
            "torch threads": f"{setting.threads}, in sweeps 1",
            "BLAS": ", ".join(sorted(libraries)) or "of torch alone",
            "MKL": "yes" if torch.backends.mkl.is_available() else "no",
            "start method": f"{started}, of sweeps loky",
            "free disk": f"{free / 2**30:.1f} GiB",
            "free memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB",
        },
    )


def available_memory() -> int | None:
    """Return the bytes of memory that programs can still have; None if nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(available[0]) * 1024 if available else None


def processes(setting: Setting, subject: Subject) -> Finding:
    """Compare the files of a sweep of ten cells in this process with those of two others."""
    top = min(4, subject.task.length // 2)
    noise = Noise("fourier", modes=tuple(sorted({1, 2, top})), eps=(0.1, 0.3, 1.0))
    plan = make_plan([subject.ref], noise, task=subject.data, limit=40)
    with tempfile.TemporaryDirectory() as folder:
        serial, parallel = (
            _files(RunDirectory(Path(folder) / str(jobs)), plan, jobs) for jobs in (1, 2)
        )
    names = serial.keys() | parallel.keys()
    differ = [name for name in names if serial.get(name) != parallel.get(name)]
    return judge(
        f"a sweep of {len(plan.unique)} cells in one process with the same in two",
        "files of cells that differ in any byte, or are missing",
        len(differ) + len(plan.unique) - len(names),
        "a cell is a function of weights, data, perturbation and seed",
        {"cells": len(plan.unique)},
    )


def _files(run: RunDirectory, plan: Plan, jobs: int) -> dict[str, bytes]:
    errors = run_sweep(plan, run, Execution(jobs=jobs)).errors
    if errors:
        raise RuntimeError(
            f"{len(errors)} cells failed, the first with {next(iter(errors.values()))}"
        )
    return {path.name: path.read_bytes() for path in (run.path / "cells").iterdir()}
