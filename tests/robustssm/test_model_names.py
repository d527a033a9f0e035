"""How models are named: bundled ones, files, modules, their settings."""

from pathlib import Path

import pytest

from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import ModelRef, references, resolve
from robustssm.errors import UsageError


def test_names_files_and_modules() -> None:
    text = "s4d/*, mine=a.ckpt, mine/3=b.ckpt, own=code/net.py:make"
    found = resolve(text, [Path("own=w.pth"), Path("x/c.pth")])
    assert [str(one) for one in found] == [
        *("s4d/0", "s4d/1", "s4d/2", "mine", "mine/3", "own", "c"),
    ]
    assert found[4] == ModelRef("mine", Path("b.ckpt"), 3)
    assert found[5] == ModelRef("own", Path("code/net.py"), function="make", weights=Path("w.pth"))
    assert found[6] == ModelRef("c", Path("x/c.pth"))


def test_weights_belong_to_modules() -> None:
    (own,) = resolve("own=net.py:make", [Path("w.pth")])
    assert own.weights == Path("w.pth")
    one, two = resolve("one=net.py:make,two=net.py:make", [Path("two=w.pth"), Path("one=v.pth")])
    assert (one.weights, two.weights) == (Path("v.pth"), Path("w.pth"))
    # Two modules and no name: nobody may guess.
    with pytest.raises(UsageError, match=r"fits no single module.*write name=path"):
        resolve("one=net.py:make,two=net.py:make", [Path("w.pth")])


def test_settings_are_for_files_from_elsewhere() -> None:
    given = ["prenorm=false", "b:pooling=last", "b/1:rate=2"]
    found = {str(one): dict(one.settings) for one in resolve("s4d,a=x,b=y,b/1=z", (), given)}
    assert found == {
        "s4d/0": {},
        "a": {"prenorm": "false"},
        "b": {"prenorm": "false", "pooling": "last"},
        "b/1": {"prenorm": "false", "pooling": "last", "rate": "2"},
    }
    with pytest.raises(UsageError, match="is for no model from elsewhere"):
        resolve("s4d", (), ["prenorm=false"])
    with pytest.raises(UsageError, match="expected as in prenorm=false"):
        resolve("a=x", (), ["prenorm"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=x.ckpt", "lacks a name or a file"),
        ("a=", "lacks a name or a file"),
        ("a/b=x.ckpt", "training seed 'b'"),
        ("a=net.py:", "names no function"),
        ("a=net.py:1x", "names no function"),
        ("a=x,a=y", "named twice"),
        ("", "none is named"),
    ],
)
def test_mistakes_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)


def test_a_path_is_a_model_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.ckpt"
    file.write_bytes(b"x")
    assert references([f"{file},s4d/1"]) == [
        ModelRef("s4d", zoo_path("s4d", 1), 1),
        ModelRef("mine", file),
    ]


@pytest.mark.parametrize(
    "name", ["epoch=3-step=100.ckpt", "a,b.pt", "lr=0.001,n=64/last.pt", "s4d,s4.pt", "x=y,z=w.pt"]
)
def test_paths_with_commas_and_equals_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As Lightning and sweeps of hyper-parameters name files: what exists is one path."""
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    for text in (name, f"./{name}", str(tmp_path / name)):
        for found in (references([text]), resolve(text), resolve("", [Path(text)])):
            (one,) = found
            assert one.path.resolve() == (tmp_path / name).resolve()
            assert not set(one.label) & set(",=:/")
    for text in (f"mine={name}", f"mine/3={name}", f"s4d,mine={name},s4/1"):
        mine = [one for one in resolve(text) if one.label == "mine"]
        assert [one.path for one in mine] == [Path(name)]
        assert len(resolve(text)) == (3 if text.startswith("s4d") else 1)
    # Weights of a module.
    for text in (name, f"net={name}"):
        (one,) = resolve("net=net.py:make", [Path(text)])
        assert one.weights == Path(name)
