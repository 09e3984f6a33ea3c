"""Gradients and clipping recorded during a training loop that does not know of it."""

import math

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from cellbench.harness.gradients import record

pytestmark = pytest.mark.quick


def pair(values):
    """A model of two parameters 'weight' and 'bias' with given gradients."""
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([values[:2]], dtype=torch.float32)
    model.bias.grad = torch.tensor(values[2:], dtype=torch.float32)
    return model


def update(model, clip=None):
    optimiser = torch.optim.SGD(model.parameters(), 0.0)
    if clip:
        clip(model)
    optimiser.step()


def by_norm(limit):
    return lambda model: torch.nn.utils.clip_grad_norm_(model.parameters(), limit)


def by_value(limit):
    return lambda model: torch.nn.utils.clip_grad_value_(model.parameters(), limit)


def test_an_update_without_clipping_has_its_norm_and_loses_nothing():
    model = pair([3.0, 0.0, 4.0])
    with record(model) as found:
        update(model)
    (row,) = found.rows
    assert row.norm == row.kept_norm == 5 and not row.clipped and row.angle == 0
    assert found.fraction_clipped == 0 and found.lost_impulse == 0


def test_clipping_by_norm_keeps_the_direction_and_loses_the_rest():
    model = pair([3.0, 0.0, 4.0])
    with record(model) as found:
        update(model, by_norm(1.0))
        model.weight.grad, model.bias.grad = torch.tensor([[0.3, 0.0]]), torch.tensor([0.4])
        update(model, by_norm(1.0))
    first, second = found.rows
    assert np.isclose(first.kept_norm, 1, rtol=1e-5) and first.clipped and first.angle < 1e-6
    assert not second.clipped and np.isclose(second.norm, 0.5)
    assert found.fraction_clipped == 0.5 and np.isclose(found.lost_impulse, 1 - 1.5 / 5.5, rtol=1e-5)


@pytest.mark.parametrize(("values", "cosine"), [((3.0, 0.1), 0.997800), ((100.0, 1.0), 0.714142)])
def test_clipping_by_value_turns_the_gradient_by_the_angle_of_closed_form(values, cosine):
    model = pair([*values, 0.0])
    with record(model) as found:
        update(model, by_value(1.0))
    assert np.isclose(math.cos(found.rows[0].angle), cosine, atol=1e-6) and found.rows[0].clipped
    kept = math.hypot(*(model.weight.grad.numpy().ravel()))
    assert np.isclose(found.rows[0].kept_norm, kept)


def test_gradients_are_what_they_would_have_been():
    plain, watched = pair([3.0, 0.1, 4.0]), pair([3.0, 0.1, 4.0])
    by_norm(1.0)(plain)
    by_value(0.5)(plain)
    with record(watched):
        by_norm(1.0)(watched)
        by_value(0.5)(watched)
    assert torch.equal(plain.weight.grad, watched.weight.grad) and torch.equal(
        plain.bias.grad, watched.bias.grad
    )


def test_a_function_imported_by_name_is_watched_too_and_put_back_afterwards():
    model = pair([3.0, 0.0, 4.0])
    before = clip_grad_norm_
    with record(model) as found:
        clip_grad_norm_(model.parameters(), 1.0)
        update(model)
    assert found.rows[0].clipped
    assert clip_grad_norm_ is before is torch.nn.utils.clip_grad_norm_


def test_norms_of_float32_neither_overflow_nor_vanish_and_zeroed_updates_are_named():
    model = pair([1e20, 1e20, 1e20])
    with record(model) as found:
        update(model, by_norm(1.0))
        model.weight.grad, model.bias.grad = torch.full((1, 2), 1e-25), torch.full((1,), 1e-25)
        update(model)
    assert np.isclose(found.rows[0].norm, 3**0.5 * 1e20) and np.isclose(found.rows[1].norm, 3**0.5 * 1e-25)
    assert found.rows[0].outcome == "zeroed" and found.rows[0].kept_norm == 0 and not found.rows[0].non_finite


def test_float64_norms_do_not_overflow_either():
    model = torch.nn.Linear(2, 1, bias=False).double()
    model.weight.grad = torch.tensor([[3e200, 4e200]], dtype=torch.float64)
    with record(model) as found:
        update(model)
    assert np.isclose(found.rows[0].norm, 5e200)


def test_what_is_not_finite_is_counted_and_named_by_parameter():
    model = pair([1.0, math.nan, 2.0])
    with record(model) as found:
        update(model)
        update(model, by_norm(1.0))
    assert [r.outcome for r in found.rows] == ["passed on", "poisoned"]
    assert found.rows[0].non_finite == {"weight": 1} and torch.isnan(model.bias.grad).all()
    assert found.non_finite["weight"] == 2 and math.isnan(found.rows[1].kept_norm)
    assert "weight" in str(found)


def test_a_clipping_that_no_step_follows_is_a_skipped_update():
    model = pair([3.0, 0.0, 4.0])
    with record(model) as found:
        by_norm(1.0)(model)
        by_norm(1.0)(model)
        update(model)
        by_norm(1.0)(model)
    assert [r.outcome for r in found.rows] == ["skipped", "", "skipped"]


def test_parts_clipped_apart_make_one_row():
    model = pair([3.0, 0.0, 4.0])
    with record(model) as found:
        torch.nn.utils.clip_grad_norm_(model.weight, 1.0)
        update(model)
    (row,) = found.rows
    assert np.isclose(row.norm, 5) and np.isclose(row.kept_norm, math.hypot(1, 4), rtol=1e-5)
    assert np.isclose(math.cos(row.angle), (3 * 1 + 4 * 4) / 5 / math.hypot(1, 4), rtol=1e-5)


def test_another_models_updates_are_not_recorded():
    mine, other = pair([3.0, 0.0, 4.0]), pair([1.0, 1.0, 1.0])
    with record(mine) as found:
        update(other, by_norm(0.1))
    assert not found.rows and math.isnan(found.fraction_clipped)


def test_a_training_is_the_same_to_the_bit_with_and_without_the_recorder():
    def trained(watching):
        torch.manual_seed(0)
        net = torch.nn.LSTM(3, 4)
        optimiser, x = torch.optim.Adam(net.parameters()), torch.randn(7, 2, 3)

        def loop():
            for _ in range(5):
                optimiser.zero_grad()
                net(x)[0].square().mean().backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 0.01)
                optimiser.step()

        if watching:
            with record(net) as found:
                loop()
            assert len(found.rows) == 5 and found.fraction_clipped == 1
        else:
            loop()
        return torch.cat([p.flatten() for p in net.parameters()])

    assert torch.equal(trained(True), trained(False))


def test_rows_go_to_a_summary_writer_and_to_plain_dicts():
    class Writer:
        def __init__(self):
            self.scalars = []

        def add_scalar(self, name, value, step):
            self.scalars.append((name, value, step))

    model, writer = pair([3.0, 0.0, 4.0]), Writer()
    with record(model) as found:
        update(model)
        update(model)
    found.to_tensorboard(writer)
    assert ("gradient/norm", 5.0, 2) in writer.scalars and ("gradient/clipped", 0.0, 1) in writer.scalars
    assert found.to_dicts()[1]["norm"] == 5 and found.to_dicts()[1]["step"] == 2


def test_a_folder_makes_an_event_file_or_one_clear_line(tmp_path):
    model = pair([3.0, 0.0, 4.0])
    with record(model) as found:
        update(model)
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="pip install tensorboard"):
            found.to_tensorboard(tmp_path)
    else:
        found.to_tensorboard(tmp_path)
        assert any("tfevents" in p.name for p in tmp_path.iterdir())


def test_an_error_in_the_loop_puts_everything_back():
    before = torch.nn.utils.clip_grad_norm_
    with pytest.raises(KeyError), record(pair([1.0, 1.0, 1.0])):
        raise KeyError("loop")
    assert torch.nn.utils.clip_grad_norm_ is before


def test_a_recording_without_an_update_says_so_without_a_number_that_is_none():
    model = torch.nn.GRU(4, 8)
    with record(model) as gradients:
        model(torch.zeros(3, 2, 4))[0].sum().backward()
    first, *rest = str(gradients).splitlines()
    assert first == "0 updates" and "no optimiser of torch.optim stepped" in rest[-1]
