"""What a layer stores: kernels, matrices and states in some format, and poles."""

import torch
from torch import Tensor

from robustssm.errors import UsageError


class Storing:
    """A layer that stores in a torch dtype, by its name; stepwise: run by its recurrence.

    stored_poles: the parameter that holds them, (..., 2); empty if none does.
    """

    storage: str = ""
    stepwise: bool = False
    stored_poles: str = ""

    def stored(self, value: Tensor) -> Tensor:
        """Return values as they are after they were stored in the format `storage`."""
        if not self.storage:
            return value
        if value.is_complex():
            return torch.view_as_complex(self.stored(torch.view_as_real(value.resolve_conj())))
        return value.to(getattr(torch, self.storage)).to(value.dtype)

    @torch.no_grad()
    def damp(self, factors: Tensor) -> None:
        """Multiply -Re of the stored poles by factors, of their shape or broadcast to it."""
        if not self.stored_poles:
            who = f"layer {type(self).__name__}"
            raise UsageError(f"{who}: stores no poles that can be damped, take S4D or S5")
        getattr(self, self.stored_poles)[..., 0] *= factors
