"""Settings of a user: read by name, all that is missing told at once, contradictions refused."""

import pytest
import torch

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.errors import RejectedInputError, UsageError


def test_values_are_those_given_or_known_or_the_default() -> None:
    given = {"a": "true", "b": "two", "c": "0.5", "d": "3", "e": "1,2"}
    o = Overrides(given, "code", "file.pt")
    assert o.flag("a") is True
    assert o.choice("b", ("one", "two")) == "two"
    assert o.number("c") == 0.5
    assert o.number("d", known=3) == 3
    assert o.numbers("e", 2) == (1.0, 2.0)
    assert o.flag("f", False) is False
    assert o.flag("g", known=True) is True
    assert o.numbers("h", 3, 0.0) == (0.0, 0.0, 0.0)
    o.finish()


def test_all_that_is_missing_is_named_once() -> None:
    o = Overrides({}, "code", "file.pt")
    o.flag("prenorm")
    o.choice("mode", ("pool", "last"))
    o.number("eps", 1.0)
    assert o.pending
    with pytest.raises(UsageError, match=r"--set prenorm=true\|false --set mode=pool\|last$"):
        o.finish()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("yes", lambda o: o.flag("x")),
        ("one", lambda o: o.number("x")),
        ("nan", lambda o: o.number("x")),
        ("inf", lambda o: o.number("x")),
        ("1,2", lambda o: o.number("x")),
        ("-1", lambda o: o.number("x", minimum=0.0)),
        ("1,2,3", lambda o: o.numbers("x", 2)),
        ("0", lambda o: o.numbers("x", 2, positive=True)),
        ("red", lambda o: o.choice("x", ("blue",))),
    ],
)
def test_what_is_not_allowed_says_what_is(text: str, read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=r"x=.*is not allowed, expected"):
        read(Overrides({"x": text}, "code", "file.pt"))


def test_the_file_is_not_contradicted() -> None:
    o = Overrides({"a": "false", "b": "2"}, "code", "file.pt")
    assert o.number("b", known=2.0) == 2.0
    with pytest.raises(UsageError, match="a=false contradicts the file, which says true"):
        o.flag("a", known=True)


def test_unknown_settings_are_named() -> None:
    o = Overrides({"colour": "red"}, "code", "file.pt")
    o.flag("prenorm", True)
    with pytest.raises(UsageError, match="unknown setting colour, expected prenorm"):
        o.finish()


def test_every_tensor_is_taken_once() -> None:
    w = Weights({"a.b": torch.ones(2, 1), "a.c": torch.ones(3)}, "file.pt")
    assert w.scope("a.").take("b", (2,), (2, 1)).shape == (2,)
    with pytest.raises(RejectedInputError, match=r"unexpected a\.c \[3\]"):
        w.finish()
    w.ignore(lambda name: name == "a.c")
    w.finish()
    with pytest.raises(RejectedInputError, match=r"a\.c has shape \[3\], expected \[2\] or \[4\]"):
        w.take("a.c", (2,), (4,))
    with pytest.raises(RejectedInputError, match=r"a\.d is missing"):
        w.take("a.d")
