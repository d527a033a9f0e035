"""Gradients by a network's inputs, through its program: kernels are built once for all passes.

Every operation has its transpose on signals of the same shape, so that a sample's gradient has the
same bits in any batch, as its logits have. What the forward pass keeps is the inputs of what is
not linear, of one block of rows at a time.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robustssm.networks.network import Network
from robustssm.networks.program import Program, Work, one_torch_thread


class Slopes(Program):
    """A program that also returns gradients."""

    def __init__(self, network: Network, L: int) -> None:
        super().__init__(network, L)
        with torch.no_grad(), one_torch_thread():
            self._by_outputs = [mixing.transposed() for mixing in self._outputs]
            self._by_inputs = [convolution.transposed() for convolution in self._convolutions]
            maps = self._encodes and not self.architecture.tokens
            self._by_encoder = self._encoder.transposed() if maps else None
            self._by_decoding = self._decoding.transposed()

    @torch.no_grad()
    def slopes(self, x: Tensor, by_logits: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """Return the gradient of any function of the logits by x, of the shape of x.

        Parameters
        ----------
        x : tensor (samples, length, channels)
            The inputs.
        by_logits : callable
            Takes logits (part, classes) and which samples they are of, and returns the function's
            gradient by them.
        """
        self._check(x, None)
        found = torch.empty_like(x)
        with one_torch_thread():
            work = Work(self)
            for start in range(0, len(x), self.rows):
                part, work.tape = slice(start, start + self.rows), []
                logits = self._block(work, x[part], None, None, start)
                slope = logits.new_zeros((self.rows, *logits.shape[1:]))
                slope[: len(logits)] = by_logits(logits, part)
                back = self._backwards(work, slope)[:, : len(logits), : self.length]
                found[part] = back.permute(1, 2, 0)
        return found

    def _backwards(self, work: Work, by_logits: Tensor) -> Tensor:
        """Return the gradient by the inputs (channels, rows, steps) of the block just computed."""
        a, tape, L = self.architecture, work.tape, self.length
        assert tape is not None
        weight = self._decoder[0]
        slope = torch.zeros_like(work.y)
        if self._answers:
            steps = by_logits.new_zeros(len(weight), *slope.shape[1:])
            steps[..., :L] = by_logits.permute(2, 0, 1)
            slope = self._last.scaled(self._by_decoding(steps, slope))
        else:
            pooled = self._last.scaled((by_logits[:, :, None] * weight).sum(1).T[..., None])
            mean = a.pooling == "mean"
            slope[..., 0 if mean else L - 1 : L] = pooled / L if mean else pooled
        if a.prenorm:
            slope = self._last.back(slope, tape)
        for number in reversed(range(len(self._convolutions))):
            norm = self._norms[number]
            if not a.prenorm:
                if not self._folding and number + 1 < len(self._convolutions):
                    slope = norm.scaled(slope)
                slope = norm.back(slope, tape)
            both = torch.ops.aten.glu_backward(slope, tape.pop(), 0)
            inner = self._by_outputs[number](both, torch.empty_like(slope))
            torch.ops.aten.gelu_backward.grad_input(inner, tape.pop(), grad_input=inner)
            if not self._by_inputs[number].mixes:
                work.padded[..., : self.steps] = inner
            through = torch.empty_like(slope)
            self._by_inputs[number](inner, work.padded, through)
            if a.prenorm:
                through = norm.back(through, tape)
            slope = slope + through if a.residual else through
        if self._by_encoder is not None:
            slope = self._by_encoder(slope, slope.new_empty((a.d_input, *slope.shape[1:])))
        elif not self._encodes:
            slope = slope.sum(0, keepdim=True)
        return slope / self._std
