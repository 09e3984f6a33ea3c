"""What holds no numbers is one line: empty batches and sequences, tensors without values, sparse ones."""

import numpy as np
import pytest
import torch

from cellbench import cells
from cellbench.harness import gradients

CELL = cells.get("gru")
PARAMS = CELL.init(3, 4)
FUNCTIONS = {
    "gates": gradients.gates,
    "saturation": gradients.saturation,
    "lag_profile": gradients.lag_profile,
    "lag_share": gradients.lag_share,
    "input_reach": gradients.input_reach,
    "precision": gradients.precision,
    "jacobian_product": lambda cell, params, x: gradients.jacobian_product(cell, params, x, [1, 2]),
    "sensitivity": gradients.sensitivity,
    "lyapunov_spectrum": lambda cell, params, x: gradients.lyapunov_spectrum(cell, params, x, transient=0),
}
FORMS = {
    "no sequence": np.zeros((40, 0, 3)),
    "no step": np.zeros((0, 1, 3)),
    "nothing": np.zeros((0, 0, 0)),
    "no input": np.zeros((40, 1, 0)),
    "meta": torch.empty((40, 1, 3), device="meta"),
    "an empty list": [],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_x_without_numbers_is_one_line(name, form):
    with pytest.raises(ValueError, match=r"^x is [^\n]*$|^x has [^\n]*$|^[^\n]*sizes? [^\n]*$"):
        FUNCTIONS[name](CELL, PARAMS, FORMS[form])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_sparse_x_is_what_it_is_dense(name):
    x = np.random.default_rng(0).standard_normal((40, 1, 3))
    sparse = FUNCTIONS[name](CELL, PARAMS, torch.tensor(x).to_sparse())
    assert repr(sparse) == repr(FUNCTIONS[name](CELL, PARAMS, x))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = torch.nn.GRU(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][-1])


X, Y = torch.randn(6, 2, 3), torch.zeros(2, dtype=torch.long)
BATCHES = {
    "no sequence": ((X[:, :0], Y[:0]), "holds nothing"),
    "no step": ((X[:0], Y), "holds nothing"),
    "meta": ((X.to("meta"), Y), "no values"),
    "a target on meta": ((X, Y.to("meta")), "target of batch 0 is on the device meta"),
    "sparse": ((X.to_sparse(), Y), "to_dense"),
}


@pytest.mark.parametrize("form", BATCHES)
def test_a_batch_without_numbers_is_not_diagnosed(form):
    batch, said = BATCHES[form]
    with pytest.raises(ValueError, match=said) as raised:
        gradients.diagnose(Model(), torch.nn.CrossEntropyLoss(), [batch])
    assert "\n" not in str(raised.value)
