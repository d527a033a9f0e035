"""In which format a layer stores its kernels, matrices and states."""

import torch
from torch import Tensor


class Storing:
    """A layer that stores in a torch dtype, by its name; stepwise: run by its recurrence."""

    storage: str = ""
    stepwise: bool = False

    def stored(self, value: Tensor) -> Tensor:
        """Return values as they are after they were stored in the format `storage`."""
        if not self.storage:
            return value
        if value.is_complex():
            return torch.view_as_complex(self.stored(torch.view_as_real(value.resolve_conj())))
        return value.to(getattr(torch, self.storage)).to(value.dtype)
