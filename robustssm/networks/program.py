"""Evaluation of a network in blocks of constant shape: fast, and a sample's bits are its own.

A program is the network at one length: kernels and their spectra are computed once, then every
block of rows goes through the same operations on the same shapes, whatever the batch. What does
not fill a block is filled up with copies of the last sample.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from robustssm.errors import ShapeError, UsageError
from robustssm.networks.channel_major import Affine, Convolution, Mixing, Norm, padded_steps
from robustssm.networks.network import Network

# Values of a signal that is worked on at a time: what a processor's cache holds of it and its
# spectrum, and what keeps a GPU busy.
_VALUES, _VALUES_ELSEWHERE = 1 << 18, 1 << 23
# More rows would gain little, and cost much where there are few samples.
_MOST_ROWS, _MOST_ROWS_ELSEWHERE = 64, 256

# (number of an SSM layer, its input (rows, length, channels), number of the first sample) -> what
# the layer gets in its place, for the samples among the rows or for all. It may write to the input.
Change = Callable[[int, Tensor, int], Tensor]


def block_rows(channels: int, L: int, device: torch.device) -> int:
    """Return how many samples make a block, a power of two."""
    cpu = device.type == "cpu"
    values = _VALUES if cpu else _VALUES_ELSEWHERE
    fitting = max(1, values // (channels * padded_steps(L)))
    return min(_MOST_ROWS if cpu else _MOST_ROWS_ELSEWHERE, 1 << (fitting.bit_length() - 1))


class _OneThread:
    """One torch thread while anybody is inside: the number of cores then changes no bit."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 1

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    torch.set_num_threads(self._before)


one_torch_thread = _OneThread()


@cache
def keep_memory() -> None:
    """Let the C library keep what is freed, up to twice as much as this, for the next block.

    glibc returns memory to the system, and asks for it again page by page, in pieces larger than
    the largest one freed so far. This one is never written to.
    """
    torch.empty(30 << 20, dtype=torch.uint8)


class Program:
    """A network in evaluation mode at one input length.

    changing: whether inputs of its SSM layers will be changed; otherwise affine maps before a
    layer are made part of its kernel. It holds copies of what it uses of the network.
    """

    def __init__(self, network: Network, L: int, changing: bool = False) -> None:
        keep_memory()
        with torch.no_grad(), one_torch_thread():
            self.architecture = network.architecture
            self.length, self.steps, self.changing = L, padded_steps(L), changing
            weight = network.decoder.weight
            self._answers = (L,) if network.every_step else ()
            self.dtype, self.device = weight.dtype, weight.device
            wide = network.every_step * len(weight) // 8  # outputs are kept for a while only
            self.rows = block_rows(max(self.architecture.d_model, wide), L, self.device)
            self._build(network)

    def _build(self, network: Network) -> None:
        a, dtype = self.architecture, self.dtype

        def copies(module: nn.Linear) -> Affine:
            return module.weight.detach().clone(), module.bias.detach().clone()

        self._mean, self._std = (v.clone()[:, None, None] for v in (network.mean, network.std))
        shape = self.rows, self.steps
        embedded = a.tokens > 0
        if not embedded:
            weight, bias = copies(network.encoder)  # type: ignore[arg-type]
            self._encoder = Mixing(weight, bias, *shape)
        self._decoder = tuple(value.detach().clone() for value in network.scaled_decoder())
        self._decoding = Mixing(self._decoder[0], self._decoder[1], *shape)
        self._outputs = [Mixing(*copies(block.output), *shape) for block in network.blocks]  # type: ignore[arg-type]
        self._norms = [Norm(block.norm, *shape, dtype) for block in network.blocks]  # type: ignore[arg-type]
        layers = network.ssm_layers()
        # Layers take the affine part of the norm before them upon themselves, the first one the
        # encoder, where nobody else needs the signal in between.
        self._folding = not self.changing and (a.prenorm or not a.residual)
        mixing = layers[0].mixing() is not None
        self._encodes = not self._folding or a.prenorm or a.d_input > 1 or embedded or mixing
        before: list[Affine | None] = [None] * len(layers)
        if self._folding and a.prenorm:
            before = [norm.affine for norm in self._norms]
        elif self._folding:
            before[1:] = [norm.affine for norm in self._norms[:-1]]
        if not self._encodes:
            before[0] = weight[:, 0], bias
        self._convolutions = [
            Convolution(layer, self.length, self.rows, dtype, affine)
            for layer, affine in zip(layers, before, strict=True)
        ]
        self._last = self._norms[-1]
        if a.prenorm:
            self._last = Norm(network.final_norm, *shape, dtype)  # type: ignore[arg-type]

    @torch.no_grad()
    def logits(
        self, x: Tensor, lengths: Tensor | None = None, change: Change | None = None
    ) -> Tensor:
        """Return logits (samples, classes), or of every step, on the program's device.

        x: (samples, length, channels), on any device; lengths: (samples,) valid steps, or None
        for all; change: what is done to the input of every SSM layer, a block of samples at a
        time. Memory does not grow with the number of samples. Raises ShapeError or UsageError for
        what is no input of the network.
        """
        self._check(x, lengths)
        shape = (len(x), *self._answers, self.architecture.d_output)
        result = torch.empty(shape, dtype=self.dtype, device=self.device)
        with one_torch_thread():
            work = Work(self)
            for start in range(0, len(x), self.rows):
                part = slice(start, start + self.rows)
                ends = None if lengths is None else lengths[part]
                result[part] = self._block(work, x[part], ends, change, start)
        return result

    def _check(self, x: Tensor, lengths: Tensor | None) -> None:
        shape = (self.length, self.architecture.d_input)
        if x.ndim != 3 or tuple(x.shape[1:]) != shape:
            raise ShapeError(
                f"network: input has shape {tuple(x.shape)}, expected (batch, {shape[0]}, "
                f"{shape[1]})"
            )
        if x.dtype != self.dtype:
            got, weights = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, self.dtype))
            raise UsageError(f"network: input is {got}, its weights are {weights}; convert one")
        if lengths is None or len(x) == 0:
            return
        low, high = int(lengths.min()), int(lengths.max())
        if lengths.shape != (len(x),) or low < 1 or high > self.length:
            raise UsageError(
                f"network: lengths run from {low} to {high}, expected one for each of {len(x)} "
                f"samples, 1 to {self.length}"
            )

    def _block(
        self,
        work: "Work",
        x: Tensor,
        lengths: Tensor | None,
        change: Change | None,
        start: int,
    ) -> Tensor:
        """Return the logits of at most `rows` samples, of which the first is number `start`."""
        a, u, y = self.architecture, work.u, work.y
        stream = work.stream
        values = work.x[..., : self.length]
        values[:, : len(x)] = x.permute(2, 0, 1)
        values[:, len(x) :] = x[-1].T[:, None]
        values.sub_(self._mean).div_(self._std)
        if self._encodes:
            inputs = work.x[..., : self.steps]
            stream.copy_(inputs if a.tokens else self._encoder(inputs.contiguous(), y))
        for number, convolution in enumerate(self._convolutions):
            norm = self._norms[number]
            if a.prenorm:
                work.keep(*norm(stream, (work.value, work.gate), u))
                if not self._folding:
                    norm.finish(u)
            before = stream
            if change is not None:
                before = stream.clone() if a.residual and not a.prenorm else stream
                seen = u[..., : self.length].permute(1, 2, 0)
                after = change(number, seen, start)
                if after is not seen:
                    seen[: len(after)] = after
            encoded = number == 0 and not self._encodes
            convolution(u, work.x if encoded else work.padded, y)
            work.keep(y)
            torch.ops.aten.gelu_(y)
            self._outputs[number](y, work.both)
            work.keep(work.both)
            torch.ops.aten.glu.out(work.both, 0, out=y)
            if a.residual:
                y.add_(before)
            if a.prenorm:
                stream.copy_(y)
                continue
            work.keep(*norm(y, (work.value, work.gate), stream))
            if not self._folding and number + 1 < len(self._convolutions):
                norm.finish(stream)
        if a.prenorm:
            work.keep(*self._last(stream, (work.value, work.gate), u))
        # What is left of the last norm acts on the mean, or the last step, alone.
        weight, bias = self._decoder
        if self._answers:
            self._last.finish(steps := u.clone())
            answers = self._decoding(steps, steps.new_empty(len(weight), *steps.shape[1:]))
            return answers[..., : self.length].permute(1, 2, 0)[: len(x)]
        pooled = self._pool(u[..., : self.length], lengths)[..., None]
        self._last.finish(pooled)
        # A sum over products instead of a matrix product, which would round rows differently.
        logits = (pooled[..., 0].T.contiguous()[:, None, :] * weight).sum(-1) + bias
        return logits[: len(x)]

    def _pool(self, signal: Tensor, lengths: Tensor | None) -> Tensor:
        """Return one value per channel and row of signal (channels, rows, length)."""
        mean = self.architecture.pooling == "mean"
        if lengths is None:
            return signal.mean(2) if mean else signal[:, :, -1].clone()
        ends = torch.ones(self.rows, dtype=torch.int64, device=self.device)
        ends[: len(lengths)] = lengths
        if not mean:
            return signal[:, torch.arange(self.rows, device=self.device), ends - 1]
        valid = torch.arange(self.length, device=self.device) < ends[:, None]
        return (signal * valid).sum(2) / ends


class Work:
    """Arrays of one evaluation.

    padded: what FFTs act on; u: the input of an SSM layer, the first steps of `padded` where
    channels do not mix; stream: the signal between blocks; y, value, gate: scratch. Everything of
    `x` and `padded` beyond the steps is zero, and stays so. tape: copies of what gradients need, in
    the order in which they are made; None for none.
    """

    tape: list[Tensor] | None = None

    def __init__(self, program: Program) -> None:
        a, steps = program.architecture, program.steps
        convolution = program._convolutions[0]

        def array(channels: int, width: int) -> Tensor:
            shape = (channels, program.rows, width)
            return torch.empty(shape, dtype=program.dtype, device=program.device)

        self.x = array(a.d_input, convolution.order).zero_()
        self.padded = array(convolution.channels, convolution.order).zero_()
        self.u = array(a.d_model, steps) if convolution.mixes else self.padded[..., :steps]
        self.stream = array(a.d_model, steps) if a.prenorm else self.u
        self.y, self.both = array(a.d_model, steps), array(2 * a.d_model, steps)
        self.value, self.gate = self.both[: a.d_model], self.both[a.d_model :]

    def keep(self, *signals: Tensor) -> None:
        """Put copies of signals on the tape, if there is one."""
        if self.tape is not None:
            self.tape += [signal.clone() for signal in signals]
