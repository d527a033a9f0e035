"""How models are named: bundled ones, files, modules, their settings."""

from pathlib import Path

import pytest

from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import ModelRef, anchored, resolve
from robustssm.errors import RejectedInputError, UsageError


def test_names_files_and_modules() -> None:
    text = "s4d/*, mine=a.ckpt, mine/3=b.ckpt, own=code/net.py:make@w.pth"
    found = resolve([text, "x/c.pth", "code/net.py:make"])
    assert [str(one) for one in found] == [
        *("s4d/0", "s4d/1", "s4d/2", "mine", "mine/3", "own", "c", "net"),
    ]
    assert found[4] == ModelRef("mine", Path("b.ckpt"), 3)
    assert found[5] == ModelRef("own", Path("code/net.py"), function="make", weights=Path("w.pth"))
    assert found[6] == ModelRef("c", Path("x/c.pth"))
    assert found[7] == ModelRef("net", Path("code/net.py"), function="make")
    assert resolve("s4/1,~/c.pth")[1].path == Path("~/c.pth").expanduser()


def test_settings_are_for_files_from_elsewhere() -> None:
    given = ["prenorm=false", "b:pooling=last", "b/1:rate=2"]
    found = {str(one): dict(one.settings) for one in resolve("s4d,a=x,b=y,b/1=z", given)}
    assert found == {
        "s4d/0": {},
        "a": {"prenorm": "false"},
        "b": {"prenorm": "false", "pooling": "last"},
        "b/1": {"prenorm": "false", "pooling": "last", "rate": "2"},
    }
    with pytest.raises(UsageError, match="is for no model from elsewhere"):
        resolve("s4d", ["prenorm=false"])
    with pytest.raises(UsageError, match="expected as in prenorm=false"):
        resolve("a=x", ["prenorm"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=x.ckpt", "lacks a name or a file"),
        ("a=", "lacks a name or a file"),
        ("a/b=x.ckpt", "training seed 'b'"),
        ("a=net.py:", "names no function"),
        ("a=net.py:1x", "names no function"),
        ("a=x,a=y", "named twice"),
        ("x/a.pt,y/a.ckpt", "a is named twice"),
        ("S4D", "'S4D' is unknown, did you mean 's4d'"),
        ("s4-ptd", "did you mean 's4ptd'"),
        ("s4d/7", "no bundled seed '7'"),
        ("net.py:", "names no function"),
        ("nowhere", "'nowhere' is unknown"),
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
    assert resolve(f"{file},s4d/1") == [
        ModelRef("mine", file),
        ModelRef("s4d", zoo_path("s4d", 1), 1),
    ]
    # What looks like a path is one: that it is not there is said where it is opened.
    for text in ("mine.safetensors", "runs/last", "./s4d", "../x"):
        (one,) = resolve(text)
        with pytest.raises(RejectedInputError, match=r"no such file") as caught:
            one.load()
        assert "\n" not in str(caught.value)


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
        for found in (resolve(text), resolve([text])):
            (one,) = found
            assert one.path.resolve() == (tmp_path / name).resolve()
            assert not set(one.label) & set(",=:/")
    for text in (f"mine={name}", f"mine/3={name}", f"s4d,mine={name},s4/1"):
        mine = [one for one in resolve(text) if one.label == "mine"]
        assert [one.path for one in mine] == [Path(name)]
        assert len(resolve(text)) == (3 if text.startswith("s4d") else 1)
    # Weights of a module.
    for text in (f"net=net.py:make@{name}", f"net.py:make@{name}"):
        if "," not in name:
            (one,) = resolve(text)
            assert one.weights == Path(name)


def test_relative_paths_belong_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a,b.pt").touch()
    (tmp_path / "bare").touch()
    text = "s4d/*,a,b.pt,x=c.pt,o/1=net.py:make@w.pth,net.py:make,/root.pt,bare,S4D"
    assert anchored(text, tmp_path).split(f"{tmp_path}/") == [
        *("s4d/*,", "a,b.pt,x=", "c.pt,o/1=", "net.py:make@", "w.pth,", "net.py:make,/root.pt,"),
        "bare,S4D",
    ]
