"""A module of cells.torch_module in a training: graphs, optimizers, copies, threads, memory."""

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from support.layouts import furthest
from torch import nn

from cellbench import cells
from cellbench.cells.programs import pool

SIZES = {"gru": "GRU", "lstm": "LSTM", "elman": "RNN"}


def pair(spec="gru", inputs=3, hidden=5, dtype=torch.float64, **arguments):
    """torch.nn's module and ours, with the same weights."""
    torch.manual_seed(0)
    theirs = getattr(nn, SIZES[spec])(inputs, hidden, dtype=dtype, **arguments)
    torch.manual_seed(0)
    return theirs, cells.torch_module(spec, inputs, hidden, dtype=dtype, **arguments)


def drawn(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def both(run, spec="gru", **arguments):
    """What a function of a module gives for torch.nn's, and for ours, as two lists of tensors."""
    theirs, ours = pair(spec, **arguments)
    return run(theirs), run(ours)


def agree(run, spec="gru", tolerance=1e-10, **arguments):
    want, got = both(run, spec, **arguments)
    assert furthest(got, want) < tolerance


@pytest.mark.parametrize("calls", [2, pool.MOST_KEPT + 3])
@pytest.mark.parametrize("spec", ["gru", "lstm"])
def test_a_module_called_again_before_the_backward_has_the_gradients_of_every_call(spec, calls):
    def run(module):
        outputs = [module(drawn(4, 2, 3, seed=k))[0] for k in range(calls)]
        return torch.autograd.grad([o.square().sum() * k for k, o in enumerate(outputs)], module.parameters())

    agree(run, spec)


def test_a_loop_that_carries_the_state_through_many_calls():
    def run(module):
        x, state = drawn(13, 2, 3).requires_grad_(), None
        outputs = []
        for x_t in x:
            output, state = module(x_t[None], state)
            outputs.append(output)
        return torch.autograd.grad(torch.cat(outputs).square().sum(), [x, *module.parameters()])

    agree(run, "lstm")


def test_backwards_in_any_order_and_twice():
    def run(module):
        losses = [module(drawn(4, 2, 3, seed=k))[0].square().sum() for k in range(3)]
        found = []
        for k in (1, 0, 1, 2, 0):
            found += torch.autograd.grad(losses[k], list(module.parameters()), retain_graph=True)
        return found

    agree(run)


def test_a_graph_that_was_used_up_is_torch_s_own_error():
    _, module = pair()
    loss = module(drawn(4, 2, 3))[0].sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.05),
        lambda p: torch.optim.Adam(p, 0.05, foreach=True),
        lambda p: torch.optim.AdamW(p, 0.05, fused=True),
        lambda p: torch.optim.LBFGS(p, max_iter=3),
    ],
    ids=["sgd", "adam", "foreach", "fused", "lbfgs"],
)
def test_an_optimizer_s_updates_are_seen_at_the_next_call(make):
    def run(module):
        optimizer, x = make(list(module.parameters())), drawn(6, 2, 3)

        def loss():
            optimizer.zero_grad()
            value = module(x)[0].square().mean()
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            return value

        losses = [optimizer.step(loss).detach() for _ in range(5)]
        return [torch.stack(losses), *module.parameters()]

    agree(run)


@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.data.mul_(1.5),
        lambda p: p.data.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(3)),
        lambda p: setattr(p, "data", p.data * 0.5),
        lambda p: p.detach().zero_(),
    ],
    ids=["mul", "uniform", "new", "detached"],
)
def test_weights_that_are_written_past_autograd_are_seen(change, steps):
    def run(module):
        x = drawn(steps, 1, 3)
        with torch.no_grad():
            before = module(x)[0]
            for parameter in module.parameters():
                change(parameter)
            return [before, module(x)[0]]

    agree(run)


def test_one_number_written_past_autograd_is_seen_in_a_long_call():
    def run(module):
        x = drawn(40, 2, 3)
        before = module(x)[0]
        module.weight_hh_l0.data[3, 2] = 2.0
        return [before, module(x)[0]]

    agree(run)


def test_a_weight_changed_before_the_backward_is_torch_s_own_error():
    _, module = pair()
    loss = module(drawn(4, 2, 3))[0].sum()
    with torch.no_grad():
        module.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_an_output_changed_in_place_leaves_the_gradients_right():
    def run(module):
        output, _ = module(drawn(4, 2, 3))
        return torch.autograd.grad(output.clone().mul_(2).square().sum(), module.parameters())

    def in_place(module):
        output, _ = module(drawn(4, 2, 3))
        return torch.autograd.grad(output.mul_(2).square().sum(), module.parameters())

    theirs, ours = pair()
    assert furthest(in_place(ours), run(theirs)) < 1e-10


def test_a_second_derivative_is_refused_in_one_line():
    _, module = pair()
    x = drawn(4, 2, 3).requires_grad_()
    (d_x,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="this gradient has no derivative") as caught:
        d_x.square().sum().backward()
    assert "\n" not in str(caught.value)


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    def run(module):
        module.weight_ih_l0.requires_grad_(False)
        module(drawn(4, 2, 3))[0].square().sum().backward()
        assert module.weight_ih_l0.grad is None
        return [p.grad for p in module.parameters() if p.grad is not None]

    agree(run, "lstm")


def test_only_a_last_state_or_only_x_can_be_asked():
    def run(module):
        module.requires_grad_(False)
        x = drawn(4, 2, 3).requires_grad_()
        return torch.autograd.grad(module(x)[1][1].sum(), x)

    agree(run, "lstm")


def test_no_graph_is_built_where_none_is_wanted():
    _, module = pair()
    with torch.no_grad():
        assert not module(drawn(4, 2, 3))[0].requires_grad
    with torch.inference_mode():
        assert module(drawn(4, 2, 3))[0].is_inference()
    module.requires_grad_(False)
    assert module(drawn(4, 2, 3))[0].grad_fn is None


def test_a_module_made_in_inference_mode_sees_its_weights_change():
    with torch.inference_mode():
        theirs, ours = pair()
        outputs = [[], []]
        for module, found in zip((theirs, ours), outputs, strict=True):
            for _ in range(2):
                found.append(module(drawn(3, 1, 3))[0].clone())
                module.weight_ih_l0.mul_(2)
        assert furthest(outputs[1], outputs[0]) < 1e-12


@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_lies_between_layers_and_in_training_alone(batch_first):
    def run(module):
        torch.manual_seed(3)
        trained = module(drawn(4, 2, 3))[0]
        assert not torch.equal(trained, module(drawn(4, 2, 3))[0])
        module.eval()
        assert torch.equal(module(drawn(4, 2, 3))[0], module(drawn(4, 2, 3))[0])
        return [trained, module(drawn(4, 2, 3))[0]]

    agree(run, num_layers=3, dropout=0.5, batch_first=batch_first)


@pytest.mark.parametrize("through", ["deepcopy", "pickle", "save"])
@pytest.mark.parametrize("spec", ["lstm", "peephole_lstm"])
def test_a_copy_is_a_module_of_its_own(through, spec):
    module = cells.torch_module(spec, 3, 5, num_layers=2, dtype=torch.float64)
    x = drawn(4, 2, 3)
    want = module(x)[0]
    if through == "deepcopy":
        other = copy.deepcopy(module)
    elif through == "pickle":
        other = pickle.loads(pickle.dumps(module))
    else:
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert type(other) is type(module) and repr(other) == repr(module)
    assert torch.equal(other(x)[0], want)
    with torch.no_grad():
        other.weight_ih_l0.zero_()
    other(x)[0].sum().backward()
    assert torch.equal(module(x)[0], want) and module.weight_ih_l0.grad is None


def test_to_another_dtype_and_back():
    _, module = pair()
    x = drawn(4, 2, 3)
    want = module(x)[0]
    got = module.float()(x.float())[0]
    assert got.dtype == torch.float32 and furthest([got.double()], [want]) < 1e-5
    assert furthest([module.double()(x)[0]], [want]) < 1e-6


def test_half_precision_is_refused_in_one_line():
    _, module = pair()
    with pytest.raises(ValueError, match="computes float32 and float64") as caught:
        module.half()(drawn(4, 2, 3).half())
    assert "\n" not in str(caught.value)


def test_functional_call_and_weights_that_are_computed():
    def run(module):
        doubled = {name: 2 * p for name, p in module.named_parameters()}
        called = torch.func.functional_call(module, doubled, (drawn(4, 2, 3),))[0]
        nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
        found = [called]
        for _ in range(3):
            output = module(drawn(4, 2, 3))[0]
            found += [output, *torch.autograd.grad(output.square().sum(), module.parameters())]
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(1.1)
        return found

    agree(run)


def test_autocast_keeps_the_weights_dtype():
    _, module = pair(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(nn.Linear(3, 3)(torch.randn(4, 2, 3)))[0]
    assert output.dtype == torch.float32
    output.sum().backward()


def test_threads_share_a_module():
    theirs, module = pair(hidden=16)
    wrong = []

    def work(seed):
        for k in range(8):
            x = drawn(1 + (seed + k) % 3, 2, 3, seed=seed)
            with torch.no_grad():
                same = furthest([module(x)[0]], [theirs(x)[0]]) < 1e-12
            found, want = (
                torch.autograd.grad(m(x)[0].square().sum(), m.parameters()) for m in (module, theirs)
            )
            if not same or furthest(found, want) > 1e-10:
                wrong.append((seed, k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def programs(module):
    """The programs that a module keeps."""
    pools = module._layers.pools
    return [slot.program for each in pools for slots in each.slots.values() for slot in slots]


def test_programs_are_used_again_and_their_memory_is_bounded(monkeypatch):
    _, module = pair(hidden=16)
    for _ in range(5):
        module(drawn(4, 2, 3))[0].sum().backward()
    assert len(programs(module)) == 1
    for _ in range(3):
        module(drawn(4, 2, 3))  # graphs that nobody keeps
    assert len(programs(module)) == 1
    monkeypatch.setattr(pool, "MOST_BYTES", 1_000_000)
    for steps in range(1, 60):
        module(drawn(steps, 2, 3))[0].sum().backward()
    held = programs(module)
    assert 1 < len(held) < 20 and sum(map(pool.held_bytes, held)) < 1_500_000


def test_a_graph_outlives_its_program_s_place_in_the_pool(monkeypatch):
    monkeypatch.setattr(pool, "MOST_BYTES", 1)

    def run(module):
        outputs = [module(drawn(steps, 2, 3))[0] for steps in (4, 5, 6)]
        return torch.autograd.grad([o.square().sum() for o in outputs], module.parameters())

    agree(run)


def test_a_module_that_is_gone_leaves_no_programs():
    _, module = pair()
    output = module(drawn(4, 2, 3))[0]
    kept = [weakref.ref(program) for program in programs(module)]
    output.sum().backward()
    del module, output
    gc.collect()
    assert [ref() for ref in kept] == [None]


def test_torch_keeps_the_number_of_threads_that_it_was_given():
    """In a process of its own: Numba's threads are started once, and other tests may have done that."""
    code = """
import torch
from cellbench import cells
torch.set_num_threads(1)
assert torch.get_num_threads() == 1  # torch takes the number up when it first needs it
model = cells.torch_module.replace(torch.nn.GRU(3, 4))
model(torch.zeros(20, 16, 3))[0].sum().backward()
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    variables = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], check=True, env=variables | {"NUMBA_NUM_THREADS": "2"})
