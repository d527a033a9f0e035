"""Networks of tokens, and networks that look both ways: logits, padding, files, the program."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.native import load_checkpoint, save_checkpoint
from robustssm.errors import UsageError
from robustssm.hippo.initializations import NAMES
from robustssm.networks.inference import accuracy, logits, programmed
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.tasks import Split, load_task
from robustssm.training.loop import TrainingConfig, train

TOKENS = 7
LENGTH, SAMPLES = 24, 9
EVERY = ["s4", "s4d", "dss", "s5"]


def make(name: str, **options: object) -> Network:
    """Return a network of tokens in evaluation mode."""
    fields = {"n": 8, "d_model": 6, "layers": 2, "d_output": 3, "d_input": 6, "tokens": TOKENS}
    return build_network(Architecture(name, **{**fields, **options})).eval()  # type: ignore[arg-type]


def tokens(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (SAMPLES, LENGTH), zero behind the samples' ends, and these."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, TOKENS, (SAMPLES, LENGTH), generator=generator)
    lengths = torch.randint(1, LENGTH + 1, (SAMPLES,), generator=generator)
    lengths[:2] = torch.tensor([1, LENGTH])
    return torch.where(torch.arange(LENGTH) < lengths[:, None], x, 0), lengths


def elsewhere(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the tokens with other ones behind the ends."""
    other = torch.randint(0, TOKENS, x.shape, generator=torch.Generator().manual_seed(5))
    return torch.where(torch.arange(LENGTH) < lengths[:, None], x, other)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_evaluation_gives_the_forward_pass(name: str, prenorm: bool, bidirectional: bool) -> None:
    network = make(name, prenorm=prenorm, residual=True, bidirectional=bidirectional)
    x, lengths = tokens()
    assert programmed(network) is not bidirectional
    with torch.no_grad():
        embedded = network.embed(x)
        for ends in (None, lengths):
            # float32 logits of order 1, a few hundred roundings of 6e-8 at random.
            expected = network(embedded, ends)
            torch.testing.assert_close(
                logits(network, embedded, lengths=ends), expected, rtol=0.0, atol=1e-5
            )


@pytest.mark.parametrize("name", ["s4d", "s5"])
@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_reaches_no_logit_and_no_statistic(
    name: str, norm: str, prenorm: bool, bidirectional: bool
) -> None:
    """In evaluation and in training, in float64, whatever stands behind the ends."""
    network = make(name, norm=norm, prenorm=prenorm, bidirectional=bidirectional, dropout=0.0)
    network = network.double()
    x, lengths = tokens()
    found = []
    for given in (x, elsewhere(x, lengths)):
        twin = make(name, norm=norm, prenorm=prenorm, bidirectional=bidirectional, dropout=0.0)
        twin.double().load_state_dict(network.state_dict())
        with torch.no_grad():
            evaluated = twin(twin.embed(given), lengths)
            trained = twin.train()(twin.embed(given), lengths)
        buffers = torch.cat([b.flatten().double() for b in twin.buffers()])
        found.append(torch.cat([evaluated.flatten(), trained.flatten(), buffers]))
    # Causal layers' FFTs round what comes before by what comes after: 1e-16 of the largest value.
    torch.testing.assert_close(found[0], found[1], rtol=0.0, atol=1e-12)


def test_a_sample_alone_cut_at_its_end_has_the_same_logits() -> None:
    """Two routes: padded with lengths, and each sample by itself without any padding."""
    for bidirectional in (False, True):
        network = make("s4d", bidirectional=bidirectional).double()
        x, lengths = tokens()
        with torch.no_grad():
            padded = network(network.embed(x), lengths)
            alone = [
                network(network.embed(x[i : i + 1, :end])) for i, end in enumerate(lengths.tolist())
            ]
        # float64 logits of order 1, other FFT lengths.
        torch.testing.assert_close(padded, torch.cat(alone), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_bidirectional_is_both_recurrences(name: str) -> None:
    layer = make(name, bidirectional=True, feedthrough=True).double().ssm_layers()[0]
    u = torch.randn(2, 17, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        both, stepwise = layer(u), layer.recurrence(u)
    # The condition of what is summed in kernels of s4ptd-random is about 1e3 in float64.
    torch.testing.assert_close(both, stepwise, rtol=0.0, atol=1e-9 * float(both.abs().max()))


def test_bidirectional_with_directions_exchanged_reverses_time() -> None:
    layer = make("s4d", bidirectional=True).double().ssm_layers()[0]
    u = torch.randn(2, 17, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = layer(u)
        layer.ahead, layer.behind = layer.behind, layer.ahead
        after = layer(u.flip(1)).flip(1)
    # The same operations on the same numbers, added in the other order.
    torch.testing.assert_close(before, after, rtol=0.0, atol=0.0)


def test_what_needs_a_causal_layer_says_so() -> None:
    layer = make("s4d", bidirectional=True).ssm_layers()[0]
    with pytest.raises(UsageError, match="not causal"):
        layer.impulse(8)
    with pytest.raises(UsageError, match="not causal"):
        layer.system(8)


def test_later_fields_leave_older_architectures_as_they_were() -> None:
    plain = Architecture("s4d").to_dict()
    assert set(asdict(Architecture("s4d"))) - set(plain) == {"tokens", "bidirectional", "target"}
    assert Architecture(**plain) == Architecture("s4d")  # type: ignore[arg-type]
    both = Architecture("s4d", d_model=8, d_input=8, tokens=5, bidirectional=True)
    assert both.to_dict()["tokens"] == 5
    with pytest.raises(UsageError, match="vocabulary and d_input = d_model"):
        Architecture("s4d", tokens=5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_training_on_tokens_resumes_to_the_same_bytes(tmp_path: Path, bidirectional: bool) -> None:
    spec = "listops:train=48:validation=8:test=16:min_length=8:max_length=24:max_depth=3"
    task = load_task(spec)
    architecture = Architecture.for_task(
        "s4d", task, n=8, d_model=6, layers=1, bidirectional=bidirectional
    )
    config = TrainingConfig(epochs=3, batch_size=16)

    def run(name: str, *stops: int | None) -> bytes:
        path = tmp_path / name
        for stop in stops:
            train(architecture, spec, config, path, command="", stop_after=stop)
        return path.read_bytes()

    whole = run("a.safetensors", None)
    assert run("b.safetensors", 1, 2, None) == whole
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert found.network.tokens == task.tokens
    split = task.splits["test"]
    by_hand = np.mean(
        [
            int(
                logits(
                    found.network,
                    found.network.embed(torch.from_numpy(split.inputs[i : i + 1])),
                    lengths=torch.from_numpy(split.lengths[i : i + 1]),  # type: ignore[index]
                ).argmax()
            )
            == split.labels[i]
            for i in range(len(split))
        ]
    )
    assert found.card.clean_accuracy == accuracy(found.network, split) == by_hand


def test_an_architecture_for_another_vocabulary_is_refused(tmp_path: Path) -> None:
    for spec, architecture in (
        ("listops:train=9:validation=4:test=4:min_length=8:max_length=24", Architecture("s4d")),
        ("digits", Architecture("s4d", d_input=32, tokens=18)),
    ):
        with pytest.raises(UsageError, match="give it tokens="):
            train(architecture, spec, TrainingConfig(epochs=1), tmp_path / "x", command="")


def test_accuracy_of_nothing_is_not_known() -> None:
    none = Split(np.zeros((0, LENGTH), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert np.isnan(accuracy(make("s4d"), none))


def test_token_network_survives_its_file(tmp_path: Path) -> None:
    network = make("s5", bidirectional=True)
    card = Card(network.to_dict(), {}, "", "", 0, {}, None, 0, "")
    save_checkpoint(tmp_path / "a.safetensors", network, card)
    again = load_checkpoint(tmp_path / "a.safetensors").network
    x, lengths = tokens()
    own, its = (logits(each, each.embed(x), lengths=lengths) for each in (network, again))
    assert torch.equal(own, its)
