"""The claims of the lecture: their verdicts by rule, small runs of each, and the command and its page."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from support.comparison import WHOLE

from cellbench.harness import claim
from cellbench.harness.claim import HOLDS, NOT_HERE, WITH_CONDITION, Claim, Ruling
from cellbench.harness.claims._contest import compared
from cellbench.harness.claims._trainings import Trial, drawn
from cellbench.harness.cli import main
from cellbench.harness.commands import claims
from cellbench.harness.report.table import Entry, Table

TASK = {"recall:steps=3:count=80": 1}
TINY = {  # options under which each claim runs in about a second
    "recurrent_weight": {"lags": 40, "size": 4},
    "clipping": {"task": "recall:steps=6:count=150", "epochs": 1, "seeds": 1},
    "vanished": {"steps": 5, "count": 200, "epochs": 1, "seeds": 1, "samples": 100},
    "initialisation": {"steps": 5, "seeds": 1, "updates": 12, "reach": 40},
    "gates": {"biases": (-1, 1), "seeds": 1, "steps": 40, "hidden_size": 5},
    "gru_cost": {"batches": 1, "samples": 3, "hidden_size": 4},
    "lstm_or_gru": {"tasks": TASK, "seeds": 2, "hidden_size": 4},
    "gated_or_plain": {"tasks": TASK, "seeds": 2, "hidden_size": 4},
    "state_memory": {
        "lags": 8,
        "streams": 4,
        "steps": 150,
        "task": "adding:steps=4:count=80",
        "epochs": 1,
        "hidden_size": 4,
    },
    "convolution": {"tasks": TASK, "seeds": 2, "hidden_size": 4},
}


def tiny(name):
    return type(claim.get(name))(**TINY[name])


def silent(label):
    """A tick that nobody hears."""


def pairs(*better, of="lstm", to="gru"):
    return {"pairs": [{"task": f"t{n}", "of": of, "to": to, "better": b} for n, b in enumerate(better)]}


def exception(kind, weight, rate, peak):
    return {"name": "n", "kind": kind, "weight": weight, "rate": rate, "peak": peak, "peak_lag": 3}


def weights(rate, *exceptions):
    return {
        "linear": [{"size": 1, "gain": 2.0, "rate": rate, "log_gain": 0.5}],
        "exceptions": list(exceptions),
    }


def trainings(*ended, tanh=9, trivial=1.4):
    """relu trainings that diverged without clipping and `ended` so with it; a tanh one that diverged at
    update `tanh`.
    """
    one = {"activation": "relu", "clip": None, "diverged_at": 3, "loss": None, "came_back": 0}
    runs = [
        r | {"seed": n}
        for n, loss in enumerate(ended)
        for r in (one, one | {"clip": 1.0, "diverged_at": None, "loss": loss})
    ]
    free = one | {"activation": "tanh", "seed": 0, "diverged_at": tanh, "loss": None if tanh else 0.1}
    return {"runs": [*runs, free, free | {"clip": 1.0, "diverged_at": None, "loss": 0.1}], "trivial": trivial}


def told(area, *labels):
    """Two trainings that finished, then those that are stuck, and what diagnose called them."""
    runs = [{"finished": n < 2, "label": label} for n, label in enumerate(labels)]
    areas = dict.fromkeys(("loss", "gradient_norm", "progress"), 0.6) | {"loss": area}
    return {"runs": runs, "areas": areas, "areas_with_right_labels": areas}


def started(**learned):
    """Five seeds of each cell, of which so many learned with torch's scheme and with the other."""
    rows = []
    for cell, (before, after) in learned.items():
        for scheme, count, reach in (("torch", before, 20), ("other", after, 200)):
            rows.append(
                {
                    "cell": cell,
                    "scheme": scheme,
                    "reach": reach,
                    "learned_at": [100] * count + [None] * (5 - count),
                }
            )
    return {"rows": rows}


def valves(alone, free, along):
    points = [
        {"cell": "lstm", "bias": 0, "alone": a, "log_keep": -1.0, "rate": -1.0 + d}
        for a, d in ((True, alone), (False, free))
    ]
    return {"points": points, "correlation": {"lstm": along, "gru": 0.99}}


def costs(gru, *high):
    ratios = {f"b{n}": {"ratio": h - 0.05, "low": h - 0.1, "high": h} for n, h in enumerate(high)}
    return {"counts": [{"gru": gru, "lstm": 400}], "ratios": ratios}


def memories(*capacity_and_first):
    return {
        "networks": [
            {
                "cell": "gru",
                "kind": kind,
                "size": 10,
                "capacity": c,
                "number": [first, 0.0],
                "marker": [0.0, 0.0],
            }
            for kind, (c, first) in zip(("untrained", "trained"), capacity_and_first, strict=True)
        ]
    }


def contest(*better):
    rows = [{"task": f"t{n}", "model": m, "epoch_s": 0.2} for n in range(len(better)) for m in ("gru", "tcn")]
    return pairs(*better, of="gru", to="tcn") | {"rows": rows}


RULES = {
    "recurrent_weight": {
        HOLDS: weights(0.5, exception("non-normal", 0.9, -0.1, 1.0), exception("saturated", 2.0, 0.7, 1.0)),
        WITH_CONDITION: weights(0.5, exception("non-normal", 0.9, -0.1, 3.9)),
        NOT_HERE: weights(0.4, exception("saturated", 2.0, -1.0, 1.0)),
    },
    "clipping": {
        HOLDS: trainings(0.1, 0.2),
        WITH_CONDITION: trainings(0.1, 0.2, tanh=None),
        NOT_HERE: trainings(None, 1.5, tanh=None),
    },
    "vanished": {
        HOLDS: told(0.7, "CONVERGED", "CONVERGED", "VANISHED", "LEARNING"),
        WITH_CONDITION: told(0.7, "CONVERGED", "UNDETERMINED", "VANISHED", "VANISHED"),
        NOT_HERE: told(0.7, "VANISHED", "VANISHED", "CONVERGED", "VANISHED"),
    },
    "initialisation": {
        HOLDS: started(gru=(0, 5), lstm=(1, 4)),
        WITH_CONDITION: started(gru=(0, 5), lstm=(5, 5)),
        NOT_HERE: started(gru=(3, 2), lstm=(0, 0)),
    },
    "gates": {
        HOLDS: valves(0.0, 0.05, 0.95),
        WITH_CONDITION: valves(0.0, 0.5, 0.95),
        NOT_HERE: valves(0.0, 0.05, 0.5),
    },
    "gru_cost": {
        HOLDS: costs(300, 0.8, 0.9),
        WITH_CONDITION: costs(300, 0.8, 1.2),
        NOT_HERE: costs(301, 0.8, 0.9),
    },
    "lstm_or_gru": {
        HOLDS: pairs("lstm", "gru"),
        WITH_CONDITION: pairs("gru", None),
        NOT_HERE: pairs("gru", "gru"),
    },
    "gated_or_plain": {
        HOLDS: pairs("lstm", "lstm", to="elman"),
        WITH_CONDITION: pairs("lstm", "lstm", "elman", to="elman"),
        NOT_HERE: pairs("lstm", "elman", to="elman"),
    },
    "state_memory": {
        HOLDS: memories((5.0, 0.9), (4.0, 0.8)),
        WITH_CONDITION: memories((5.0, 0.9), (4.0, 0.2)),
        NOT_HERE: memories((11.0, 0.9), (4.0, 0.8)),
    },
    "convolution": {
        HOLDS: contest("gru", "gru"),
        WITH_CONDITION: contest("gru", "tcn"),
        NOT_HERE: contest("tcn", None),
    },
}


def test_every_claim_has_a_place_of_its_own_and_is_tested_here():
    found = [claim.get(name) for name in claim.names()]
    assert sorted(one.place for one in found) == list(range(1, len(found) + 1))
    assert set(claim.names()) == set(RULES) == set(TINY)


@pytest.mark.parametrize(
    ("name", "verdict"), [(name, verdict) for name in RULES for verdict in claim.VERDICTS]
)
def test_the_rule_gives_each_verdict_for_numbers_that_call_for_it(name, verdict):
    ruling = claim.get(name).judge(RULES[name][verdict])
    assert ruling.verdict == verdict
    assert ruling.condition.endswith(".") and "nan" not in ruling.condition


def test_a_level_contest_is_no_dependence_on_the_task():
    assert claim.get("lstm_or_gru").judge(pairs(None, None)).verdict == NOT_HERE


# the others are measured by `nox -s laws`, and whole by `nox -s claims`
@pytest.mark.parametrize("name", TINY if WHOLE else [*TINY][::3])
def test_a_claim_is_measured_at_a_tiny_size_and_its_numbers_suffice_for_all_else(name):
    one, ticks = tiny(name), []
    numbers = json.loads(json.dumps(one.measure(ticks.append)))
    assert len(ticks) == one.parts
    assert isinstance(one.judge(numbers), Ruling)
    assert one.table(numbers).rows
    assert one.draw(numbers).axes


def test_the_rate_of_a_linear_network_is_the_logarithm_of_its_gain():
    found = tiny("recurrent_weight").measure(silent)
    np.testing.assert_allclose(
        [o["rate"] for o in found["linear"]], np.log([o["gain"] for o in found["linear"]]), atol=1e-9
    )
    held = next(e for e in found["exceptions"] if "W²" in e["name"])
    assert held["rate"] == pytest.approx(
        np.log(1.4), abs=1e-6
    )  # closed form: J = diag(1, 0.3) W has the eigenvalue 1.4
    jordan = next(e for e in found["exceptions"] if "Jordan" in e["name"])
    k = np.arange(41)
    assert jordan["peak"] == pytest.approx(np.max(np.hypot(0.9**k, k * 0.9 ** (k - 1.0))), rel=1e-9)


def test_a_gate_without_another_path_decides_the_rate():
    found = [p for p in tiny("gates").measure(silent)["points"] if p["alone"]]
    np.testing.assert_allclose(
        [p["rate"] for p in found], [-np.log1p(np.exp(-p["bias"])) for p in found], atol=1e-9
    )


def test_a_ratio_is_told_apart_from_one_only_by_its_whole_interval():
    assert claim.ratio([1.0, 1.1, 0.9], [2.0, 2.1, 1.9]).word == "below"
    assert claim.ratio([2.0, 2.1, 1.9], [1.0, 1.1, 0.9]).word == "above"
    assert claim.ratio([1.0, 3.0], [2.0, 2.1]).word == "level"
    assert claim.ratio([1.0, 2.0], [1.0, 2.0]).word == "level"
    with pytest.raises(ValueError, match="pairs"):
        claim.ratio([1.0], [1.0])
    with pytest.raises(ValueError, match="not finite"):
        claim.ratio([1.0, float("nan")], [1.0, 2.0])


def test_what_both_models_have_learned_is_level():
    rows = [
        {"task": "t", "model": m, "seed": s, "loss": loss, "target": 0.1}
        for m, loss in (("gru", 1e-6), ("tcn", 1e-2))
        for s in range(3)
    ]
    assert compared(rows, "gru", "tcn")[0]["better"] is None
    assert compared([r | {"target": 1e-9} for r in rows], "gru", "tcn")[0]["better"] == "gru"


def test_a_share_of_the_labels_is_drawn_anew():
    right, wrong = (drawn("recall:steps=3:count=4000", 0, share) for share in (0.0, 0.6))
    assert np.mean(right.train.y != wrong.train.y) == pytest.approx(0.45, abs=0.03)  # 0.6 times 3/4
    assert wrong.floor is None and Trial("recall", "gru", 0).wrong == 0.0


@dataclass(frozen=True)
class Fine(Claim):
    place, sentence, how, rule, caption, seconds = 1, "It <runs>.", "by running", "always", "Nothing.", 0.0

    def measure(self, tick):
        tick("it")
        return {"number": float("inf")}

    def judge(self, numbers):
        return Ruling(HOLDS, "The condition.")

    def table(self, numbers):
        return Table("", ("a",), ((Entry("b"),),))

    def draw(self, numbers):
        from matplotlib.figure import Figure

        return Figure()


@dataclass(frozen=True)
class Broken(Fine):
    place = 2

    def measure(self, tick):
        raise RuntimeError("no such\nnumber")


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(claim, "names", lambda: ["fine", "broken"])
    monkeypatch.setattr(
        claim,
        "get",
        lambda name, options=None: {"fine": Fine, "broken": Broken}[name.lower()](**(options or {})),
    )


def test_a_claim_that_fails_is_a_line_and_the_others_go_on(two, tmp_path, capsys):
    assert claims.claims(["broken", "fine"], tmp_path) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0].strip() for line in out[:2]] == ["1 Fine: holds", "2 Broken: failed"]
    assert out[1].endswith("RuntimeError: no such number")
    assert claims.claims(["fine"], tmp_path) == 0


def test_the_page_its_markdown_and_its_numbers_are_written(two, tmp_path):
    claims.claims([], tmp_path)
    page, text = (tmp_path / "index.html").read_text(), (tmp_path / "claims.md").read_text()
    for said in (HOLDS, "The condition.", "RuntimeError: no such number", "by running"):
        assert said in page and said in text
    assert "It &lt;runs&gt;." in page and "<svg" in page
    found = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert [(c["verdict"], c["numbers"]) for c in found] == [(HOLDS, {"number": "inf"}), ("failed", {})]
    assert (tmp_path / "claim-Fine.svg").exists()


def test_an_unknown_claim_is_one_line_and_nothing_is_written(tmp_path, capsys):
    assert main(["claims", "gatez", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "unknown claim 'gatez'; did you mean 'gates'?" in error
    assert not (tmp_path / "out").exists()
