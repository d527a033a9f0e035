"""Numbers in text: ASCII digits, in tens, of a size; the same in options, specs, TOML, budgets."""

import math
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from robustssm.attacks import parse_perturbation
from robustssm.attacks.frequencies import parse_frequencies, parse_modes
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.hippo.initializations import parse
from robustssm.plain_text import is_count, number, whole
from robustssm.storage.writing import read_toml
from robustssm.tasks import load_task

ODD = ("1_0", "٣", "\uff11", "0x10", "0b1", "0o7", "1e", "--1", "+-1", "1 0", "1j", "1l", "²", "Ⅷ")
HUGE = ("9" * 1000, "0x" + "f" * 1000, "9" * 5000, "9223372036854775808")
NO_FLOAT = (*ODD, "0x" + "f" * 1000, "9" * 5000)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_whole_number_of_64_bits_is_read(value: int) -> None:
    assert whole(str(value)) == whole(f" {value:+d} ") == value
    assert is_count(str(value)) == (value >= 0)


@given(st.floats())
def test_every_float_is_read(value: float) -> None:
    for text in (repr(value), f"{value:+.17e}", f"{value:.400g}", str(value).upper()):
        read = number(text)
        assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize("text", [*ODD, *HUGE, "", " ", "\t1", "1\n", "1.0", "1.", "inf"])
def test_what_is_no_whole_number(text: str) -> None:
    assert not is_count(text)
    with pytest.raises(ValueError, match="whole number") as caught:
        whole(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", [*NO_FLOAT, "", ".", "e5", "infinit", "1e123456", "\u2212" + "1"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="no number") as caught:
        number(text)
    assert len(str(caught.value)) < 200


READERS: dict[str, Callable[[str], object]] = {
    "spec": lambda text: load_task(f"digits:side={text}"),
    "spec of a float": lambda text: load_task(f"frequency-discrimination:noise={text}"),
    "mode": parse_modes,
    "modes": lambda text: parse_modes(f"1-{text}"),
    "ladder": lambda text: parse_modes(f"log:1:{text}:3"),
    "frequency": lambda text: parse_frequencies(text, "frequencies", "hz"),
    "argument": lambda text: parse_perturbation(f"Fourier({text}, eps=0.1)"),
    "budget": lambda text: parse_perturbation(f"Fourier(1, eps={text})"),
    "range": lambda text: parse_perturbation(f"Fourier(1, eps=1, clip='hard', low={text}, high=1)"),
    "phases": lambda text: parse_perturbation(f"Fourier(1, phase='worst:{text}', eps=0.1)"),
    "tau": lambda text: parse(f"s4ptd-rank1:tau={text}"),
    "seed": lambda text: parse(f"s4ptd-random:seed={text}"),
    "training seed": lambda text: resolve(f"mine/{text}=m.pt"),
    "readout": lambda text: read_readout(f"e{text}", 4),
    "random readout": lambda text: read_readout(f"random:{text}", 4),
    "listed readout": lambda text: read_readout(f"{text},1", 4),
}


@pytest.mark.parametrize("where", READERS)
@pytest.mark.parametrize("text", [*ODD, *HUGE[1:3]])
def test_it_is_refused_in_one_line(where: str, text: str) -> None:
    if where in ("argument", "budget", "range") and text in ("--1", "+-1"):
        return  # signs are Python's there, as in -1
    with pytest.raises(UsageError) as caught:
        READERS[where](text)
    assert "\n" not in str(caught.value)


def numeric() -> list[tuple[tuple[str, ...], click.Option]]:
    found = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        for parameter in command.params:
            kind = parameter.type
            kinds = (click.types.IntParamType, click.types.FloatParamType)
            if isinstance(parameter, click.Option) and isinstance(kind, kinds):
                found.append((path, parameter))
        for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
            walk(inner, (*path, name))

    walk(main, ())
    return found


def test_every_option_is_read_strictly() -> None:
    options = numeric()
    assert len(options) > 60
    for path, option in options:
        for text in ("1_0", "٣", "0x10", "9" * 5000):
            with pytest.raises(click.BadParameter) as caught:
                option.type(text, option, None)
            assert len(str(caught.value)) < 200, (path, option.name)
        if isinstance(option.default, int | float):
            assert option.type(str(option.default), option, None) == option.default


@pytest.mark.parametrize(
    "text",
    [f"seed = {'9' * 1000}", f"seed = {'9' * 5000}", f"seed = 0x{'f' * 1000}",
     f"seed = 0x{'f' * 9000}", f"eps = [1, [{'9' * 100}]]", f"eps = {{a = {'9' * 100}}}",
     "seed = ٣", "seed = 9223372036854775808"],
)  # fmt: skip
def test_numbers_in_toml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_toml(path, "config c.toml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    result = CliRunner().invoke(main, ["sweep", "-C", str(path), "--dry-run"])
    assert result.exit_code == 2 and "Traceback" not in result.output
