"""Torch modules made from the zoo's own equations, with arrays renamed and held as people hold them."""

import torch
from torch import nn

from cellbench.cells.contract import State

# names that public implementations use, by the cell's own
RENAMED = {
    "gain_ih": "ln_x.weight",
    "shift_ih": "ln_x.bias",
    "gain_hh": "ln_h.weight",
    "shift_hh": "ln_h.bias",
    "gain_c": "ln_c.weight",
    "shift_c": "ln_c.bias",
    "peephole_i": "w_ci",
    "peephole_f": "w_cf",
    "peephole_o": "w_co",
    "weight_dt": "dt_proj.weight",
    "bias_dt": "dt_proj.bias",
    "a_log": "A_log",
    "skip": "D",
    "output_re": "C_re",
    "output_im": "C_im",
    "lambda_re": "Lambda_re",
    "lambda_im": "Lambda_im",
    "delta_log": "log_step",
    "weight_if": "if_gates.weight",
    "bias_if": "if_gates.bias",
    "weight_zh": "z2u.weight",
    "weight_ih": "x_proj.weight",
    "bias_ih": "x_proj.bias",
    "weight_hh": "h_proj.weight",
    "bias_hh": "h_proj.bias",
    "skew": "A",
    "bias_modrelu": "mod_bias",
    "decay": "a_param",
}


def layer(kind, shape, bias):
    """A layer whose weight has this shape."""
    if kind.startswith("ln"):
        return nn.LayerNorm(shape[0])
    return nn.Linear(shape[1], shape[0], bias=bias)


class FromEquations(nn.Module):
    """A cell's equations on arrays of other names, in Linear and LayerNorm; factor disturbs the named one."""

    def __init__(self, cell, input_size, hidden_size, disturbed=None, gatewise=False):
        super().__init__()
        self.cell, self.disturbed, self.places = cell, disturbed, {}
        shapes = cell.parameter_shapes(input_size, hidden_size)
        for name, shape in shapes.items():
            place = RENAMED.get(name, name)
            holder, _, _ = place.rpartition(".")
            if gatewise and name in ("weight_ih", "weight_hh") and shape[0] == len(cell.gates) * hidden_size:
                side = "x" if name == "weight_ih" else "h"
                self.places[name] = [f"W_{side}{gate}" for gate in cell.gates]
                for own in self.places[name]:
                    setattr(self, own, nn.Parameter(torch.randn(hidden_size, shape[1]) / 3))
                continue
            if gatewise and name == "bias_ih" and shape[0] == len(cell.gates) * hidden_size:
                self.places[name] = [f"b_{gate}" for gate in cell.gates]
                for own in self.places[name]:
                    setattr(self, own, nn.Parameter(torch.randn(hidden_size)))
                continue
            of_holder = {RENAMED.get(n, n): shapes[n] for n in shapes}
            weight, own_bias = of_holder.get(f"{holder}.weight", ()), of_holder.get(f"{holder}.bias", ())
            if holder and weight and own_bias in ((), weight[:1]) and not gatewise:
                bias = bool(own_bias)
                if not hasattr(self, holder):
                    setattr(self, holder, layer(holder, shape, bias))
                self.places[name] = place
            else:
                own = place.replace(".weight", "").replace(".bias", "_b")
                setattr(self, own, nn.Parameter(torch.randn(shape) / 3))
                self.places[name] = own
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.rand_like(parameter) / 2 + 0.1)

    def arrays(self):
        held = dict(self.named_parameters())
        arrays = {
            name: torch.cat([held[p] for p in place]) if isinstance(place, list) else held[place]
            for name, place in self.places.items()
        }
        if self.disturbed:
            factor = torch.ones_like(arrays[self.disturbed])
            factor.reshape(-1)[-1] = 1.5
            arrays[self.disturbed] = arrays[self.disturbed] * factor
        return arrays

    def forward(self, x, state):
        values = state if isinstance(state, tuple) else (state,)
        before = State(**dict(zip(self.cell.states, values, strict=True)))
        output, after = self.cell.step(self.cell.effective(self.arrays()), x, before)
        return output, tuple(getattr(after, name) for name in self.cell.states)


def sizes(cell):
    """Odd sizes that the cell can have."""
    return next(s for s in ((5, 7), (7, 7), (5, 8), (8, 8)) if cell.unfit(*s) is None)
