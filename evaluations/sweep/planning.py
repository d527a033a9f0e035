"""Planning a sweep: models, data and noises are read and checked before anything is computed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from robustssm.attacks import ModelChange
from robustssm.attacks.adversaries import Adversary
from robustssm.checkpoints.bundled import trained_on
from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.model_names import ModelRef, resolve, split_names
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.noises import Noise, check_options, conditions
from robustssm.evaluations.sweep.plan import Cell, Model, Plan
from robustssm.evaluations.sweep.probe import check_repeats
from robustssm.evaluations.sweep.problems import Problems
from robustssm.evaluations.sweep.run_directory import ARRAYS
from robustssm.networks.classifier import TAKES_TOKENS
from robustssm.networks.foreign import KIND, Blueprint
from robustssm.networks.weight_groups import groups_of
from robustssm.targets import CLASSES, TOKENS
from robustssm.tasks import Task, load_task, recorded_task


def read_model(ref: ModelRef) -> Model:
    """Return the model of a reference; RejectedInputError or UsageError if it cannot be read."""
    checkpoint = ref.load()
    network = checkpoint.network
    return Model(
        ref.resolved(),
        checkpoint.card,
        checkpoint.content_hash,
        network.state_size,
        len(network.ssm_layers()),
        network.tokens,
        checkpoint.notes,
        groups_of(network),
    )


def find_models(
    texts: Sequence[str], settings: Sequence[str], problems: Problems
) -> list[ModelRef]:
    """Return the models that `resolve` finds in texts, those that it can if some are unknown."""
    items = split_names(texts)
    known = [item for item in items if problems.attempt(resolve, item)]
    refs: list[ModelRef] | None = []
    if known or not items:
        refs = problems.attempt(resolve, known, settings)
    if refs is None:  # a name given twice: look at each by itself
        refs = [ref for item in known for ref in resolve(item)]
    return list(dict.fromkeys(refs))


def make_plan(
    refs: Sequence[ModelRef],
    noises: Noise | Sequence[Noise],
    *,
    task: str | Task | None = None,
    seed: int = 0,
    noise_seeds: int = 1,
    limit: int | None = None,
    device: str = "cpu",
    problems: Problems | None = None,
) -> Plan:
    """Return the plan of a sweep, checked before anything is computed: each noise for every model.

    task: the data, or their name; None takes the task on the models' cards, which must agree.
    seed: of the noise; noise_seeds: replicates of each perturbed cell, with this seed and the next
    ones. limit: the first so many test samples, None for all. device: `cpu` or `cuda`, whose bits
    differ. problems: what the caller found wrong before, raised together with what is found here,
    one line per problem: UsageError if options contradict each other or the models,
    RejectedInputError if all that is wrong are checkpoints or data that are damaged or do not fit.
    """
    problems = problems or Problems()
    noises = (noises,) if isinstance(noises, Noise) else tuple(noises)
    problems.attempt(check_options, noises)
    names = [noise.name for noise in noises]
    if not names:
        problems.add("noise: none is named, expected as in --noise fourier")
    if len(set(names)) < len(names):
        problems.add(f"noise: {', '.join(names)} is named; name each once")
    if noise_seeds < 1 or seed < 0 or seed + noise_seeds > 2**63:
        problems.add(
            f"noise seeds: {noise_seeds} from {seed}, expected at least 1, each below 2^63"
        )
    models, data, limit = _read(refs, task, limit, problems)
    planned: dict[tuple[int, int | None], Sequence[Condition]] = {}
    for model in models if data is not None else ():
        assert data is not None
        for k, noise in enumerate(noises):
            key, name = (k, model.state_size), str(model.ref)
            if key not in planned:
                planned[key] = problems.attempt(conditions, noise, data, key[1], name) or ()
            problems.attempt(check_sites, name, model, data, planned[key])
    problems.raise_all()
    assert data is not None
    # Different labels of one checkpoint share its cells; each cell is planned once per label.
    of_data = data.spec, data.content_hash
    cells = [Cell(model, *of_data, None, seed, limit, device) for model in models]
    for model in models:
        of_model = [c for k in range(len(noises)) for c in planned[k, model.state_size]]
        cells += [
            Cell(model, *of_data, c, drawn, limit, device)
            for c in of_model
            for drawn in range(seed, seed + noise_seeds)
        ]
    return _plan(names, models, cells, data)


def plan_conditions(
    refs: Sequence[ModelRef],
    planned: Sequence[Condition] | Callable[[Sequence[Model], Task], Sequence[Condition]],
    *,
    task: str | Task | None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> Plan:
    """Plan the clean evaluation and the given conditions for every model; else as `make_plan`.

    planned: the conditions, or a function that returns them for the models and the data.
    """
    problems = Problems()
    models, data, limit = _read(refs, task, limit, problems)
    problems.raise_all()
    assert data is not None
    planned = planned(models, data) if callable(planned) else planned
    of_data = data.spec, data.content_hash
    cells = [
        Cell(model, *of_data, condition, seed, limit, device)
        for condition in (None, *planned)
        for model in models
    ]
    return _plan(dict.fromkeys(c.noise for c in planned), models, cells, data)


def _read(
    refs: Sequence[ModelRef], task: str | Task | None, limit: int | None, problems: Problems
) -> tuple[tuple[Model, ...], Task | None, int | None]:
    """Return the models, the data that they fit, and the limit, None if it leaves nothing out."""
    if limit is not None and limit < 1:
        problems.add(f"limit: {limit} samples, expected at least 1")
    if task is not None:
        named = task.spec if isinstance(task, Task) else task
        refs = [replace(ref, path=trained_on(ref.path, named)) for ref in refs]
    read = (problems.attempt(read_model, ref) for ref in refs)
    models = tuple(model for model in read if model is not None)
    data = problems.attempt(_data, models, task)
    if data is not None:
        fitting = (problems.attempt(_fitting, model, data, task is None) for model in models)
        models = tuple(fit or model for fit, model in zip(fitting, models, strict=True))
    seen: dict[tuple[str, int], Model] = {}
    for model in models:
        twin = seen.setdefault((model.ref.label, model.train_seed), model)
        if twin is not model:
            problems.add(
                f"model: {twin.ref} and {model.ref} are both {model.ref.label!r} of training seed "
                f"{model.train_seed}; name one of them otherwise"
            )
    if data is not None and limit is not None and limit >= len(data.splits["test"]):
        limit = None
    return models, data, limit


def _data(models: Sequence[Model], task: str | Task | None) -> Task | None:
    """Return the named task, or the one on the models' cards; None if there is no model."""
    unknown = [str(model.ref) for model in models if not model.card.task]
    if task is None and unknown:
        raise UsageError(
            f"task: {', '.join(unknown)} does not say what it was trained on; name the data by "
            "--data, as in --data digits or --data file:samples.npz"
        )
    if task is not None:
        return task if isinstance(task, Task) else load_task(task)
    specs = {model.card.task: f"checkpoint {model.ref}" for model in models}
    if len(specs) > 1:
        named = ", ".join(sorted(specs))
        raise UsageError(f"task: the models were trained on {named}; name one by --data")
    return next((recorded_task(*each) for each in specs.items()), None)


def _fitting(model: Model, data: Task, same_data: bool) -> Model:
    """Return a model with what is to be known of it on these data.

    A module of a user's own code is called on the first samples, as `check_repeats` says. Raises
    RejectedInputError if a model does not fit the data, or was trained on other ones than those
    that its card names.
    """
    card = model.card
    check_fit(str(model.ref), card, model.tokens, data)
    logits = check_repeats(model.ref, data) or card.architecture["d_output"]
    notes = []
    if logits not in (None, data.classes) and data.kind is CLASSES:
        notes.append(f"tells {logits} classes apart, and the samples are of {data.classes}")
    if card.task_hash and card.task_hash != data.content_hash:
        if same_data:
            raise RejectedInputError(
                f"checkpoint {model.ref}: was trained on {data.spec} with data hash "
                f"{card.task_hash[:12]}, here it is {data.content_hash[:12]}"
            )
        notes.append(f"was trained on other data, {card.task:.80}")
    return replace(model, notes=(*model.notes, *notes))


def check_fit(model: str, card: Card, vocabulary: int | None, task: Task) -> None:
    """Raise RejectedInputError if a model's inputs, steps or classes are not those of the task.

    card: its architecture has d_input and d_output (None if not known); vocabulary: how many
    tokens it embeds, None if it takes values.
    """
    architecture = card.architecture
    channels, classes = (architecture[key] for key in ("d_input", "d_output"))
    if task.tokens is not None and task.tokens > (vocabulary or 0):
        values = "values" if channels is None else f"{channels} channels of values"
        takes = values if vocabulary is None else f"{vocabulary} tokens"
        lacks = architecture.get("kind") == "module" and vocabulary is None
        raise RejectedInputError(
            f"checkpoint {model}: takes {takes}, task {task.spec} has tokens 0 to {task.tokens - 1}"
            f"{TAKES_TOKENS if lacks else ''}"
        )
    own = task.channels if task.tokens is None else channels
    if card.target not in (None, task.kind.name):
        raise RejectedInputError(
            f"checkpoint {model}: answers with {card.target or 'classes'!s:.40}, task {task.spec} "
            f"has {task.kind.name or 'classes'}; name data of its kind by --data"
        )
    if channels not in (None, own) or (classes is not None and not _fits(classes, task)):
        raise RejectedInputError(
            f"checkpoint {model}: maps {channels} channels to {classes} "
            f"{'classes' if task.kind is CLASSES else 'outputs'}, task {task.spec} "
            f"has {task.channels} and {task.classes}"
        )
    if architecture.get("kind") == KIND:
        ends = [split.lengths for split in task.splits.values() if split.lengths is not None]
        shortest = min((int(one.min()) for one in ends if len(one)), default=task.length)
        try:
            Blueprint.from_dict(architecture).check_steps(task.length, shortest)
        except UsageError as error:
            raise RejectedInputError(f"checkpoint {model}: {error}") from None


def _fits(classes: object, task: Task) -> bool:
    """Return whether a number of answers fits; samples of a file need not show all, nor tokens."""
    arrays = task.spec.startswith("file:") or task.spec == ARRAYS
    if task.kind is TOKENS or (task.kind is CLASSES and arrays):
        return isinstance(classes, int) and task.classes <= classes
    return classes == task.classes


def check_sites(name: str, model: Model, task: Task, conditions: Sequence[Condition]) -> None:
    """Raise UsageError if a model, or the data, lacks what a condition acts on, as SSM `layers`."""
    architecture = model.card.architecture
    own = "kind" not in architecture and not architecture.get("bidirectional")
    lengths = any(split.lengths is not None for split in task.splits.values())
    for condition in conditions:
        if condition.inject == "layers" and not model.layers:
            raise UsageError(
                f"{condition.noise}: acts at the inputs of SSM layers, and {name} has none with "
                "a step size; give --inject input, or another noise"
            )
        if isinstance(condition.attack, ModelChange):
            condition.attack.check_groups(name, model.groups)
            if not (own or condition.attack.foreign):
                raise UsageError(
                    f"{condition.noise}: changes causal layers of this project's own networks, and "
                    f"{name} has none"
                )
        if lengths and isinstance(condition.attack, Adversary):
            raise UsageError(
                f"{condition.noise}: attacks samples of one length, and those of {task.spec} have "
                "lengths of their own; take a perturbation"
            )


def _plan(names: Iterable[str], models: tuple[Model, ...], cells: list[Cell], data: Task) -> Plan:
    """Return the plan of these cells; UsageError if two noises are the same under two names."""
    for model in models:
        first: dict[str, Cell] = {}
        for cell in (cell for cell in cells if cell.model is model):
            twin = first.setdefault(cell.id, cell)
            if twin is not cell:
                assert cell.condition is not None
                raise UsageError(
                    f"noise: {cell.condition.noise} repeats {cell.condition.attack!r} at eps "
                    f"{cell.condition.budget.eps:g}; name each noise once"
                )
    return Plan(tuple(names), models, tuple(cells), data)
