"""Plans: the mode grammar, identity by content, and refusals before anything is computed."""

from pathlib import Path

import pytest

from robustssm.attacks import BandNoise, Budget, Resonance
from robustssm.checkpoints.model_names import resolve
from robustssm.commands.parameter_types import Numbers
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.hippo.spectrum import spikes


def test_numbers() -> None:
    assert Numbers("eps").convert("0.3,0.1,0.3", None, None) == (0.3, 0.1)
    with pytest.raises(UsageError, match="eps: 'x' is not a number"):
        Numbers("eps").convert("0.1,x", None, None)


def plan_of(path: Path, **options: object) -> Plan:
    settings: dict[str, object] = {"name": "fourier", "modes": (1, 2), "eps": (0.1, 1.0)}
    whole = {key: options.pop(key) for key in ("task", "seed", "limit") if key in options}
    noise = Noise(**{**settings, **options})  # type: ignore[arg-type]
    return make_plan(resolve(f"m={path}"), noise, **whole)  # type: ignore[arg-type]


def test_cells_are_identified_by_content(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    first = plan_of(checkpoints["s4d"])
    assert len(first.cells) == 1 + 2 * 2
    copy = tmp_path / "renamed.safetensors"
    copy.write_bytes(checkpoints["s4d"].read_bytes())
    assert [c.id for c in plan_of(copy).cells] == [c.id for c in first.cells]
    assert plan_of(copy).id == first.id
    others = [
        plan_of(checkpoints["s4ptd-rank1"]),
        plan_of(checkpoints["s4d"], seed=1),
        plan_of(checkpoints["s4d"], limit=10),
    ]
    for other in others:
        ids = {c.id for c in other.cells if c.condition}
        assert not ids & {c.id for c in first.cells}
    # eps = 0 is the clean evaluation, which every plan has; it is not planned twice.
    assert plan_of(checkpoints["s4d"], eps=(0.0, 0.1, 1.0)).id == first.id


def test_cells_of_other_draws_are_other_cells(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws at layers are of another generator where they are many, which ids say."""
    names: list[set[str]] = []
    for dense in (True, False):
        monkeypatch.setattr(BandNoise, "dense", dense)
        at = {
            inject: plan_of(checkpoints["s4d"], name="BandNoise(1, 3)", modes=None, inject=inject)
            for inject in ("input", "layers")
        }
        names.append({cell.id for plan in at.values() for cell in plan.cells if cell.condition})
    assert len(names[0] & names[1]) == 2  # at the input, two strengths


def test_resonance_counts_the_spikes_of_the_models_own_state_size(
    checkpoints: dict[str, Path],
) -> None:
    cells = plan_of(checkpoints["s4d"], name="resonance", modes=(1, 4)).cells[1:]
    frequencies = spikes(8)
    assert [repr(c.condition.attack) for c in cells[::2] if c.condition] == [
        repr(Resonance(float(frequencies[k]))) for k in (0, 3)
    ]
    assert {c.inject for c in cells} == {"layers"}
    assert {c.names["mode_unit"] for c in cells} == {"spike"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": (33,)}, "Nyquist bin 32"),
        ({"eps": (-1.0,)}, "expected a finite number >= 0"),
        ({"name": "hum"}, "'hum' is unknown, did you mean 'Hum'. expected one of Fourier"),
        ({"name": "Fourier(", "modes": None}, "is not understood"),
        ({"name": "Fourier(3)"}, "--modes has no place"),
        ({"name": "Fourier(mode, unit='rms')"}, "but no eps"),
        ({"name": "resonance", "inject": "input"}, "acts at 'layers', not at 'input'"),
        ({"inject": "layers", "eps_unit": "std"}, "exists at the input only"),
        (
            {"name": "Fourier(3, eps=1, unit='std')", "modes": None, "inject": "layers"},
            "exists at the input only",
        ),
        ({"eps_unit": "mix"}, "eps in mix is not its own, expected std"),
        ({"eps_unit": "octaves"}, "expected std"),
        ({"name": "BandPGD(1, 33)", "modes": None}, "expected bins within 0-32"),
        ({"name": "BandPGD(1, 8)", "modes": None, "eps_unit": "octaves"}, "expected std"),
        (
            {"name": "BandPGD(1, 8)", "modes": None, "clip": "rescale", "limits": (0.0, 1.0)},
            "belongs to perturbations",
        ),
        ({"name": "BandPGD(1.5, 8)", "modes": None}, "low is 1.5, expected a whole number"),
        ({"name": "Gabor(mode)", "mode_unit": "hz"}, "needs a sampling rate"),
        ({"name": "Quantise(mode)", "mode_unit": "hz"}, "not counted in hz"),
        ({"name": "resonance", "mode_unit": "cycles"}, "counts spikes"),
        ({"name": "Fourier(3, eps=0)", "modes": None}, "changes nothing"),
        ({"phase": "worst:4", "modes": (0,)}, "one of the phases"),
        ({"modes": "1-9999999"}, "too large"),
        ({"eps_unit": "loudness"}, "expected one of std"),
        ({"omega": (1.0,)}, "belongs to resonance"),
        ({"name": "resonance", "modes": (5,)}, "expected 1-4"),
        ({"name": "resonance", "phase": "sine"}, "belong to fourier"),
        ({"modes": (0,), "phase": "sine"}, "zero at every sample"),
        ({"phase": "worst"}, "worst:P"),
        ({"mode_unit": "hz"}, "needs a sampling rate"),
        ({"mode_unit": "cycles", "modes": "0.1,0.6"}, "beyond the Nyquist frequency"),
        ({"clip": "hard"}, "needs a range"),
        ({"limits": (0.0, 1.0)}, "clip is none"),
        ({"limit": 0}, "at least 1"),
        ({"task": "cats"}, "task: 'cats' is unknown"),
    ],
)
def test_refusals(checkpoints: dict[str, Path], options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_of(checkpoints["s4d"], **options)


def test_one_noise_under_two_names_and_two_models_under_one(checkpoints: dict[str, Path]) -> None:
    models = resolve(f"m={checkpoints['s4d']}")
    for names in (("Fourier(3)", "Fourier(mode=3)"), ("BandNoise(1,9)", "BandNoise(1, 9)")):
        with pytest.raises(UsageError, match="name each noise once"):
            make_plan(models, [Noise(name) for name in names])
    both = resolve(f"m={checkpoints['s4d']}") + resolve(f"m={checkpoints['s4ptd-rank1']}")
    with pytest.raises(UsageError, match="are both 'm' of training seed 0"):
        make_plan(both, Noise("fourier", "1"))


def test_options_fill_in_what_an_expression_leaves_out(checkpoints: dict[str, Path]) -> None:
    plan = plan_of(
        checkpoints["s4d"], name="Fourier(3, eps=0.2)", modes=None, eps_unit="l2", clip="hard",
        limits=(0.0, 1.0),
    )  # fmt: skip
    (condition,) = [c.condition for c in plan.cells if c.condition]
    assert condition.budget == Budget(0.2, "l2", "hard", 0.0, 1.0)
    assert condition.mode_unit == ""
    values = plan_of(checkpoints["s4d"], name="Quantise(mode)", modes=(2, 4), eps=(1.0,))
    assert {c.condition.mode_unit for c in values.cells if c.condition} == {"value"}


def test_a_limit_beyond_the_data_is_none(checkpoints: dict[str, Path]) -> None:
    assert plan_of(checkpoints["s4d"], limit=10**6).id == plan_of(checkpoints["s4d"]).id


def test_another_task_needs_to_be_named(checkpoints: dict[str, Path]) -> None:
    from robustssm.checkpoints.bundled import zoo_path

    models = resolve(f"a={checkpoints['s4d']},b={zoo_path('s4d', 0)}")
    with pytest.raises(UsageError, match="name one by --data"):
        make_plan(models, Noise("fourier"))
    assert make_plan(models, Noise("fourier", "1-9"), task="digits:side=8").task.length == 64


def test_model_names() -> None:
    assert [str(m) for m in resolve("s4d,s4ptd/2")] == ["s4d/0", "s4ptd/2"]
    assert [str(m) for m in resolve("s5/*")] == ["s5/0", "s5/1", "s5/2"]
    for text, message in [("s9", "unknown"), ("s4d/7", "seed '7'"), ("", "none is named"),
                          ("s4d,s4d/0", "twice")]:  # fmt: skip
        with pytest.raises(UsageError, match=message):
            resolve(text)
    with pytest.raises(RejectedInputError, match="no such file"):
        make_plan(resolve("x=nowhere.safetensors"), Noise("fourier"))
