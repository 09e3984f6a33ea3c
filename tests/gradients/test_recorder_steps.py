"""The recorder against what the optimiser got, which a spy in the optimiser's own update reads."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from cellbench.harness.gradients import record

pytestmark = pytest.mark.quick


class Spy(torch.optim.SGD):
    """SGD that keeps the norm of the gradients that each of its updates used."""

    def __init__(self, params, lr=1e-3, **more):
        super().__init__(params, lr, **more)
        self.used = []
        inner = self._init_group

        def spied(group, params, grads, *rest):
            result = inner(group, params, grads, *rest)
            self.used.append(math.sqrt(sum(float(g.double().square().sum()) for g in grads)))
            return result

        self._init_group = spied


def lstm():
    torch.manual_seed(0)
    model = nn.LSTM(4, 8)
    x = torch.randn(30, 16, 4)
    return model, lambda: 100 * (model(x)[0] ** 2).mean()


def true_norm(model, loss, dtype=torch.float64):
    """The norm of the loss's gradient, in float64 by autograd, with nothing between."""
    grads = torch.autograd.grad(loss(), list(model.parameters()))
    return math.sqrt(sum(float(g.to(dtype).square().sum()) for g in grads))


def clip(model, limit=1.0):
    return torch.nn.utils.clip_grad_norm_(model.parameters(), limit)


def close(a, b):
    return bool(np.isclose(a, b, rtol=1e-5))


def test_a_second_backward_after_the_clip_is_in_the_norm_that_the_optimiser_stepped_with():
    model, loss = lstm()
    optimiser = Spy(model.parameters())
    with record(model) as found:
        loss().backward()
        clip(model)
        loss().backward()
        optimiser.step()
    (row,) = found.rows
    assert close(row.kept_norm, optimiser.used[0]) and row.kept_norm > 5 and close(row.clip_norm, 1)
    assert "clipping left 1, the optimiser stepped with" in row.note and "added to" in row.note
    assert row.note in str(found) and "1 of 1 updates" in str(found)
    assert row.optimiser == "Spy"


@pytest.mark.parametrize("none", [True, False])
def test_a_clip_before_the_backward_bounds_nothing_and_is_said(none):
    model, loss = lstm()
    optimiser, truth = Spy(model.parameters()), true_norm(*lstm())
    with record(model) as found:
        optimiser.zero_grad(set_to_none=none)
        clip(model)
        loss().backward()
        optimiser.step()
        clip(model)  # and stale gradients of the step before
        optimiser.zero_grad(set_to_none=none)
        loss().backward()
        optimiser.step()
    assert close(found.rows[0].norm, truth) and close(found.rows[0].kept_norm, truth)
    assert "saw no gradient" in found.rows[0].note
    assert close(found.rows[1].kept_norm, optimiser.used[1]) and "before the backward" in found.rows[1].note
    assert not any(r.clipped for r in found.rows) and len(found.rows) == 2


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("unscale", [False, True])
def test_a_loss_scale_is_divided_out_and_a_clip_of_scaled_gradients_is_said(fused, unscale):
    model, loss = lstm()
    truth = true_norm(*lstm())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=fused)
    with record(model) as found:
        scaler.scale(loss()).backward()
        if unscale:
            scaler.unscale_(optimiser)
        clip(model)
        scaler.step(optimiser)
        scaler.update()
    (row,) = found.rows
    assert close(row.norm, truth) and close(row.kept_norm, 1.0 if unscale else 1 / 1024)
    assert row.clipped and row.angle == 0 and row.outcome == ""
    assert ("scaler.unscale_" in row.note) is not unscale


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_leaves_out_is_a_skipped_row(fused):
    model, loss = lstm()
    truth = true_norm(*lstm())
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    optimiser = torch.optim.Adam(model.parameters(), 0.0, fused=fused)
    with record(model) as found:
        for factor in (1.0, math.inf, 1.0):
            optimiser.zero_grad()
            scaler.scale(loss() * factor).backward()
            scaler.unscale_(optimiser)
            clip(model)
            scaler.step(optimiser)
            scaler.update()
    assert [r.outcome for r in found.rows] == ["", "skipped", ""]
    assert found.rows[1].non_finite and "skipped: 1" in str(found)
    assert all(close(found.rows[k].norm, truth) for k in (0, 2))
    assert all(r.optimiser == "Adam" for r in found.rows)


def test_accumulation_counts_one_update_and_a_clip_of_each_part_is_no_bound():
    for every in (False, True):
        model, loss = lstm()
        optimiser = Spy(model.parameters())
        with record(model) as found:
            for _ in range(2):
                optimiser.zero_grad()
                for part in range(3):
                    if every and part:
                        clip(model)
                    loss().backward()
                if not every:
                    clip(model)
                optimiser.step()
        assert len(found.rows) == 2 and [r.outcome for r in found.rows] == ["", ""]
        assert np.allclose([r.kept_norm for r in found.rows], optimiser.used, rtol=1e-5)
        assert all(bool(r.note) is every for r in found.rows)


def own_clip(parameters, limit):
    total = torch.sqrt(sum(p.grad.square().sum() for p in parameters))
    for p in parameters:
        p.grad.mul_(limit / total)


EDITS = {
    "by hand": (lambda m, o: [p.grad.mul_(0.5) for p in m.parameters()], "were changed after"),
    "replaced": (
        lambda m, o: [setattr(p, "grad", torch.ones_like(p)) for p in m.parameters()],
        "were changed after",
    ),
    "zeroed": (lambda m, o: o.zero_grad(set_to_none=False), "zeroed after"),
    "gone": (lambda m, o: o.zero_grad(), "zeroed after"),
    "by a hook of the optimiser": (
        lambda m, o: o.register_step_pre_hook(lambda *_: own_clip(list(m.parameters()), 0.3)),
        "were changed after",
    ),
}


@pytest.mark.parametrize("way", EDITS)
def test_gradients_edited_between_clip_and_step_are_measured_at_the_step(way):
    edit, words = EDITS[way]
    model, loss = lstm()
    optimiser = Spy(model.parameters())
    with record(model) as found:
        for _ in range(2):
            optimiser.zero_grad()
            loss().backward()
            clip(model)
            edit(model, optimiser)
            optimiser.step()
    assert len(found.rows) == 2
    assert np.allclose([r.kept_norm for r in found.rows], optimiser.used, rtol=1e-5)
    assert all(words in r.note and close(r.clip_norm, 1) for r in found.rows)


class Kept:
    """A copy of torch's function, which no module holds."""

    clip = staticmethod(clip_grad_norm_)


CLIPS = {
    "own": lambda ps: own_clip(ps, 1.0),
    "kept in an object": lambda ps: Kept.clip(ps, 1.0),
    "in two steps": lambda ps: nn.utils.clip_grads_with_norm_(
        ps, 1.0, nn.utils.get_total_norm([p.grad for p in ps])
    ),
    "by keywords": lambda ps: torch.nn.utils.clip_grad_norm_(max_norm=1.0, parameters=iter(ps)),
    "looked at first": lambda ps: (
        torch.nn.utils.clip_grad_norm_(ps, math.inf),
        torch.nn.utils.clip_grad_norm_(ps, 1.0),
    ),
    "by value and by norm": lambda ps: (
        torch.nn.utils.clip_grad_value_(ps, 1e6),
        torch.nn.utils.clip_grad_norm_(ps, 1.0),
    ),
}


@pytest.mark.parametrize("way", CLIPS)
def test_clipping_by_any_means_counts_as_clipped(way):
    model, loss = lstm()
    optimiser, truth = Spy(model.parameters()), true_norm(*lstm())
    with record(model) as found:
        loss().backward()
        CLIPS[way](list(model.parameters()))
        optimiser.step()
    (row,) = found.rows
    assert row.clipped and close(row.norm, truth) and close(row.kept_norm, 1)
    assert close(found.lost_impulse, 1 - 1 / truth)
    assert (way == "own") is bool(row.note) is math.isnan(row.clip_norm)


def test_parameters_without_a_gradient_are_named_with_the_reason():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out, self.unused = nn.LSTM(4, 8), nn.Linear(8, 1), nn.Linear(3, 3)
            self.forgotten, self.dead = nn.Linear(8, 1), nn.Linear(8, 1)
            self.rnn.weight_hh_l0.requires_grad_(False)

        def forward(self, x):
            h = self.rnn(x)[0]
            return self.out(h) + self.forgotten(h) + 0 * self.dead(h)

    net = Net()
    known = [p for n, p in net.named_parameters() if not n.startswith("forgotten")]
    optimiser = torch.optim.SGD([*known, nn.Parameter(torch.ones(2))], 1e-3)
    with record(net) as found:
        for _ in range(3):
            optimiser.zero_grad()
            net(torch.randn(5, 2, 4)).square().mean().backward()
            optimiser.step()
    idle = found.idle
    assert set(idle) == {
        "rnn.weight_hh_l0",
        *(f"{part}.{name}" for part in ("unused", "forgotten", "dead") for name in ("weight", "bias")),
    }
    assert "requires_grad is False" in idle["rnn.weight_hh_l0"]
    assert "cut from the graph" in idle["unused.weight"] and "exactly 0" in idle["dead.bias"]
    assert "no optimiser" in idle["forgotten.weight"]
    assert all(name in str(found) for name in idle)


def test_a_model_of_which_all_learns_names_no_parameter():
    model, loss = lstm()
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    with record(model) as found:
        loss().backward()
        optimiser.step()
    assert found.idle == {} and "\n" not in str(found)


def test_a_parameter_that_thaws_learns_from_then_on():
    model, loss = lstm()
    model.weight_hh_l0.requires_grad_(False)
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    with record(model) as found:
        for update in range(3):
            model.weight_hh_l0.requires_grad_(update > 1)
            optimiser.zero_grad()
            loss().backward()
            optimiser.step()
    assert found.idle == {}


def test_each_row_has_the_parameters_of_its_own_optimiser():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    spies = [Spy(layer.parameters()) for layer in model]
    with record(model) as found:
        model(torch.randn(5, 3)).square().sum().backward()
        clip(model)
        for spy in spies:
            spy.step()
    assert [r.optimiser for r in found.rows] == ["Spy", "Spy 2"]
    assert np.allclose([r.kept_norm for r in found.rows], [spy.used[0] for spy in spies], rtol=1e-5)
    assert close(math.hypot(*(r.kept_norm for r in found.rows)), 1) and not any(r.note for r in found.rows)


def test_lbfgs_has_one_row_an_update_with_the_norm_that_it_starts_from():
    model, loss = lstm()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=4)
    starts = []

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    with record(model) as found:
        for _ in range(2):
            starts.append(true_norm(model, loss))
            optimiser.step(closure)
    assert [r.evaluations for r in found.rows] == [4, 4]
    assert np.allclose([r.norm for r in found.rows], starts, rtol=1e-5)
    assert "the first of 4 evaluations" in found.rows[0].note


def test_a_closure_that_clips_inside_the_step_as_lightning_does_is_measured_after_it():
    model, loss = lstm()
    optimiser, truth = Spy(model.parameters()), true_norm(*lstm())

    def closure():
        value = loss()
        optimiser.zero_grad()
        value.backward()
        clip(model)
        return value

    with record(model) as found:
        optimiser.step(closure=closure)
        optimiser.step(closure)
    assert len(found.rows) == 2 and close(found.rows[0].norm, truth)
    assert np.allclose([r.kept_norm for r in found.rows], optimiser.used, rtol=1e-5)
    assert all(r.clipped and not r.note and r.evaluations == 1 for r in found.rows)


class Accelerated(torch.optim.Optimizer):
    """In the order of accelerate's wrapper: no __init__ of torch's, a patched step, a scaler."""

    def __init__(self, optimizer, scaler):
        self.optimizer, self.scaler, self.called, self.sync = optimizer, scaler, False, True
        plain = optimizer.step

        def patched(*args, **kwargs):
            self.called = True
            return plain(*args, **kwargs)

        self.plain, self.patched = plain, patched

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def step(self, closure=None):
        if not self.sync:
            return
        self.optimizer.step = self.patched
        self.scaler.step(self.optimizer, closure)
        self.scaler.update()
        self.optimizer.step = self.plain


def test_accelerates_order_of_calls_with_accumulation_and_a_scaler():
    model, loss = lstm()
    truth = true_norm(*lstm())
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    optimiser = Accelerated(torch.optim.AdamW(model.parameters(), 0.0), scaler)
    with record(model) as found:
        for batch in range(4):
            optimiser.sync = batch % 2 == 1
            scaler.scale(loss() / 2).backward()
            if optimiser.sync:
                scaler.unscale_(optimiser.optimizer)
                clip(model)
            optimiser.step()
            if optimiser.sync:
                optimiser.optimizer.zero_grad()
    assert len(found.rows) == 2 and not any(r.note or r.outcome for r in found.rows)
    assert all(close(r.norm, truth) and close(r.kept_norm, 1) for r in found.rows)


class Clipping(Spy):
    """A step of its own that changes the gradients and calls its parent's."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            clip_grad_norm_(group["params"], 0.25)
        return super().step(closure)


class Around(torch.optim.Optimizer):
    """A wrapper in the manner of Lookahead or SAM: the inner optimiser moves the parameters."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(0.1)
        return self.inner.step()


@pytest.mark.parametrize("way", ["own step", "wrapper"])
def test_of_steps_inside_steps_the_innermost_is_the_row(way):
    model, loss = lstm()
    spy = Clipping(model.parameters()) if way == "own step" else Spy(model.parameters())
    optimiser = spy if way == "own step" else Around(spy)
    with record(model) as found:
        for _ in range(3):
            optimiser.zero_grad()
            loss().backward()
            optimiser.step()
    assert len(found.rows) == 3 and found.idle == {}
    assert np.allclose([r.kept_norm for r in found.rows], spy.used, rtol=1e-5)
    assert all(r.clipped for r in found.rows)


def test_sharpness_aware_steps_have_the_gradient_of_the_second_backward():
    model, loss = lstm()
    spy = Spy(model.parameters(), 1e-2)

    class Sharp(torch.optim.Optimizer):
        def __init__(self):
            super().__init__(spy.param_groups, {})

        def step(self, closure):
            with torch.enable_grad():
                closure()
            with torch.no_grad():
                moved = [(p, p.grad * 0.01) for p in model.parameters()]
                for p, by in moved:
                    p.add_(by)
            with torch.enable_grad():
                closure()
            with torch.no_grad():
                for p, by in moved:
                    p.sub_(by)
            spy.step()

    def closure():
        spy.zero_grad()
        loss().backward()

    with record(model) as found:
        optimiser = Sharp()
        for _ in range(2):
            optimiser.step(closure)
    assert len(found.rows) == 2
    assert np.allclose([r.kept_norm for r in found.rows], spy.used, rtol=1e-5)


def test_an_optimiser_inside_the_backward_has_a_row_for_each_of_its_steps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    spies = {p: Spy([p]) for p in model.parameters()}

    def step(p):
        spies[p].step()
        spies[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    with record(model) as found:
        for _ in range(2):
            model(torch.randn(5, 3)).square().sum().backward()
    used = sorted(v for spy in spies.values() for v in spy.used)
    assert np.allclose(sorted(r.kept_norm for r in found.rows), used, rtol=1e-5) and len(used) == 8
    assert found.idle == {}


@pytest.mark.parametrize("data", [True, False])
def test_parameters_that_are_moved_by_hand_are_rows_that_say_so(data):
    model, loss = lstm()
    norms = []
    with record(model) as found:
        for _ in range(3):
            model.zero_grad()
            loss().backward()
            norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters())))
            clip(model)
            with torch.no_grad():
                for p in model.parameters():
                    (p.data if data else p).sub_(1e-2 * p.grad)
    assert [r.optimiser for r in found.rows] == ["by hand"] * 3 and found.idle == {}
    assert np.allclose([r.norm for r in found.rows], norms, rtol=1e-5)
    assert all(close(r.kept_norm, 1) and "without a step" in r.note for r in found.rows)


def test_sparse_gradients_have_their_norm():
    torch.manual_seed(0)
    model = nn.Embedding(10, 3, sparse=True)
    optimiser = torch.optim.SparseAdam(model.parameters())
    with record(model) as found:
        for _ in range(2):
            optimiser.zero_grad()
            (model(torch.tensor([1, 1, 4])) * torch.tensor([1.0, 2.0, 2.0])).sum().backward()
            optimiser.step()
    # row 1 is used twice: (2, 4, 4), row 4 once: (1, 2, 2)
    assert all(close(r.kept_norm, math.hypot(6, 3)) and r.norm == r.kept_norm for r in found.rows)


@pytest.mark.parametrize("more", [{"foreach": True}, {"foreach": False}, {"fused": True}])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_every_implementation_of_an_optimiser_is_seen(kind, more):
    model, loss = lstm()
    optimiser, truth = kind(model.parameters(), 1e-3, **more), true_norm(*lstm())
    with record(model) as found:
        loss().backward()
        clip(model)
        optimiser.step()
    assert close(found.rows[0].norm, truth) and close(found.rows[0].kept_norm, 1) and not found.rows[0].note


class Wrapper(nn.Module):
    """What DistributedDataParallel looks like from outside."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


@pytest.mark.parametrize("inside", [True, False])
def test_wrapped_and_compiled_models_keep_their_parameters(inside):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    model = torch.compile(Wrapper(plain), backend="aot_eager")
    spy, x = Spy(model.parameters()), torch.randn(5, 3)
    with record(plain if inside else model) as found:
        for _ in range(2):
            spy.zero_grad()
            model(x).square().sum().backward()
            clip(model, 0.01)
            spy.step()
    assert np.allclose([r.kept_norm for r in found.rows], spy.used, rtol=1e-5) and len(spy.used) == 2
    assert all(r.clipped and not r.note for r in found.rows)
    assert ("0.weight" if inside else "module.0.weight") in found.parameters


def test_what_a_recording_puts_in_is_taken_out_again():
    model, loss = lstm()
    optimiser = Clipping(model.parameters())
    before = (torch.amp.GradScaler.step, torch.amp.GradScaler._unscale_grads_, torch.optim.SGD.step)
    with record(model):
        loss().backward()
        optimiser.step()
    assert before == (torch.amp.GradScaler.step, torch.amp.GradScaler._unscale_grads_, torch.optim.SGD.step)
    assert not optimiser._optimizer_step_pre_hooks
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    copy.deepcopy(model)


def test_a_step_that_fails_leaves_the_next_one_right():
    model, loss = lstm()
    optimiser, fails = Spy(model.parameters()), [True]

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        if fails.pop() if fails else False:
            raise KeyError("data")
        return value

    with record(model) as found:
        with pytest.raises(KeyError):
            optimiser.step(closure)
        optimiser.step(closure)
    assert len(found.rows) == 1 and close(found.rows[0].kept_norm, optimiser.used[0])


@pytest.mark.parametrize("model", [[nn.Linear(2, 2)], nn.Tanh(), "lstm"])
def test_what_is_no_model_is_one_clear_line(model):
    with pytest.raises(ValueError, match=r"^model") as error, record(model):
        pass
    assert "\n" not in str(error.value)
