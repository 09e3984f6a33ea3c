"""Matrix products of torch on the CPU with operands rounded to tf32, as a GPU's matrix units take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cellbench.cells.programs.formats import FORMATS, TF32

# where the operands of a product stand among an operation's arguments
OPERANDS = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), (0, 1)),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), (1, 2)),
}


class RoundedProducts(TorchDispatchMode):
    """Within, operands of products are rounded to tf32, of autograd's products too; sums stay float32."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        places = OPERANDS.get(operation.overloadpacket.__name__, ())
        given = [to_tf32(value) if k in places else value for k, value in enumerate(args)]
        return operation(*given, **(kwargs or {}))


def to_tf32(values: torch.Tensor) -> torch.Tensor:
    """float32 rounded to the nearest number of tf32, ties to even."""
    return torch.from_numpy(np.asarray(FORMATS[TF32].round(values.detach().numpy()), np.float32))
