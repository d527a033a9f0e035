"""Data that other packages bring: read where they lie, or made by their code; always the same."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from robustssm.errors import UsageError
from robustssm.tasks import load_task
from robustssm.tasks.reading import packaged
from robustssm.tasks.ucr import bundled, ucr
from tests.robustssm.tasks.test_ucr import TEST_LABELS, TRAIN_LABELS, series, ts


@pytest.fixture
def sktime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ends its import, with one task in its data."""
    folder = tmp_path / "site" / "sktime"
    data = folder / "datasets" / "data" / "Small"
    data.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('was imported')")
    ts(data / "Small_TRAIN.ts", series(10, 2, 1, False), TRAIN_LABELS, False)
    ts(data / "Small_TEST.ts", series(3, 2, 2, False), TEST_LABELS, False)
    monkeypatch.delitem(sys.modules, "sktime", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return data / "Small_TRAIN.ts"


def test_an_archive_by_its_name(sktime: Path) -> None:
    task = load_task("ucr:name=Small:validation=0.2")
    assert task.spec == "ucr:name=Small:validation=0.2"
    assert task.content_hash == ucr(sktime, validation=0.2).content_hash
    assert [len(part) for part in task.splits.values()] == [8, 2, 3]
    assert "sktime" not in sys.modules


def test_a_name_that_is_not_there(sktime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"Smal comes with neither .* did you mean 'Small'"):
        load_task("ucr:name=Smal")
    with pytest.raises(UsageError, match=r"\.\./Small comes with neither"):
        load_task("ucr:name=../Small")
    for both in ("ucr", f"ucr:name=Small:path={sktime}"):
        with pytest.raises(UsageError, match=r"expected either path=NAME_TRAIN\.ts or name=NAME"):
            load_task(both)
    monkeypatch.setattr("robustssm.tasks.ucr.packaged", lambda *names: iter(()))
    with pytest.raises(UsageError, match=r"neither is installed; pip install 'robustssm\[ucr\]'"):
        load_task("ucr:name=Small")


@pytest.mark.skipif(
    not any(packaged("sktime", "aeon")), reason="neither sktime nor aeon is installed"
)
def test_published_archives_have_their_sizes() -> None:
    """As the archives' own pages give them: series for training and test, channels, length."""
    for name, sizes in {
        "JapaneseVowels": (270, 370, 12, 29, 9),
        "OSULeaf": (200, 242, 1, 427, 6),
        "ItalyPowerDemand": (67, 1029, 1, 24, 2),
        "PLAID": (537, 537, 1, 1344, 11),
    }.items():
        if name not in bundled():
            continue
        task = load_task(f"ucr:name={name}:validation=0")
        train, test = (len(task.splits[split]) for split in ("train", "test"))
        assert (train, test, task.channels, task.length, task.classes) == sizes, name


def test_mnist1d_is_its_packages_and_the_same_after_other_draws() -> None:
    data = pytest.importorskip("mnist1d.data", reason="mnist1d is not installed")
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    task = load_task("mnist1d:samples=200:seed=7")
    # It has drawn from no generator that others use.
    assert random.random() == random.Random(3).random()
    assert np.random.rand() == np.random.RandomState(3).rand()  # noqa: NPY002
    settings = data.get_dataset_args()
    settings.num_samples, settings.seed = 200, 7
    made = data.make_dataset(settings)
    test = task.splits["test"]
    # Rounded to 2^-16.
    assert np.abs(test.inputs[:, :, 0] - made["x_test"]).max() <= 2.0**-17 + 2.0**-22
    np.testing.assert_array_equal(test.labels, made["y_test"])
    assert [len(part) for part in task.splits.values()] == [144, 16, 40]
    assert task.content_hash == load_task(task.spec).content_hash
    assert len(set(np.concatenate([part.sample_id for part in task.splits.values()]))) == 200


def test_mnist1d_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[mnist1d\]'"):
        load_task("mnist1d:samples=300")
    with pytest.raises(UsageError, match="samples is 7"):
        load_task("mnist1d:samples=7")
