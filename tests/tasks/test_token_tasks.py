"""Tasks of tokens: the readers on small texts of our own, and the real data (`cellbench data fetch`)."""

import io
import math
import zipfile

import numpy as np
import pytest
import torch
from support.real_data import loaded

from cellbench.harness import task
from cellbench.harness.data import abc, archives, scores
from cellbench.harness.data.archives import arrays
from cellbench.harness.data.split import foretelling, grouped, padded, rows, to_sequences
from cellbench.harness.data.text import distance, until
from cellbench.harness.report import shapes
from cellbench.harness.rivals import by_shape
from cellbench.harness.task import MANY_TO_MANY, ONE_TO_MANY, TO_SEQUENCE, DataAbsent
from cellbench.harness.tasks import abc_tunes, chorales, grapheme_to_phoneme, next_character, translation

NAMES = ["abc_tunes", "abc_from_header", "chorales", "translation", "grapheme_to_phoneme", "next_character"]


def stored(module, parse):
    try:
        return arrays(module.ARCHIVE, parse)
    except DataAbsent as missing:
        pytest.skip(str(missing))


TUNES = """% a collection
X: 1
T: A Reel
R: Reel
M: C|  % cut
K: D Major
"D"A2 (3Bcd | !trill!^f>g [K:G] e/2 |\\
% between the lines
G,2 z :|
P: B
c'2 |]

X: 2
M: 6/8
K: G
G3 A3 |
"""


def test_a_tune_in_abc_is_its_header_and_the_tokens_of_its_body():
    (reel, body), (jig, second) = abc.tunes(TUNES)
    assert [abc.field(reel, letter) for letter in "RMK"] == ["reel", "c|", "d"]
    assert [abc.field(jig, letter) for letter in "RMK"] == ["", "6/8", "g"]
    assert abc.tokens(body) == [
        "A2",
        " ",
        "(3",
        "B",
        "c",
        "d",
        " ",
        "|",
        " ",
        "^f",
        ">",
        "g",
        " ",
        "e/2",
        " ",
        "|",
        " ",
        "G,2",
        " ",
        "z",
        " ",
        ":|",
        " ",
        "c'2",
        " ",
        "|]",
    ]
    assert abc.tokens(second) == ["G3", " ", "A3", " ", "|"]


def test_a_key_is_the_same_however_it_is_written():
    written = ["E Minor", "Em", "Emin", "Bb", "BbMaj", "A Mixolydian", "Amix", "Hp", ""]
    assert [abc.field({"K": key}, "K") for key in written] == [
        "em",
        "em",
        "em",
        "bb",
        "bb",
        "amix",
        "amix",
        "hp",
        "",
    ]


def test_tunes_with_the_same_opening_pitches_are_one_melody():
    assert abc.opening(["A2", "|", "z", "^B/", "c'"], notes=3) == abc.opening(
        ["(", "A", "^B3", "c'2", "d"], notes=3
    )
    assert abc.opening(["A", "B"]) != abc.opening(["A", "^B"]) and abc.opening(["A", "B"]) != abc.opening(
        ["A,", "B"]
    )


def test_a_body_that_occurs_twice_counts_once_and_rare_tokens_are_one():
    found = abc.parse({"a.abc": TUNES.encode(), "b.abc": TUNES.encode()})
    assert (
        found["lengths"].tolist() == [26, 5]
        and len(found["tokens"]) == 31
        and found["header"].shape == (2, 3)
    )
    assert found["words"].tolist() == [" ", "?"]  # the only one that occurs five times
    assert len(set(found["melody"])) == 2


def mxl(measures):
    """A compressed score of one part."""
    score = (
        "<score-partwise><part"
        f" id='P1'>{''.join(f'<measure>{m}</measure>' for m in measures)}</part></score-partwise>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(
            "META-INF/container.xml",
            "<container><rootfiles><rootfile full-path='s.xml'/></rootfiles></container>",
        )
        file.writestr("s.xml", score)
    return buffer.getvalue()


def note(step, octave, duration, more=""):
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{pitch}<duration>{duration}</duration>{more}</note>"


def test_a_score_is_sampled_in_sixteenths_with_its_ties_rests_and_chords():
    tied = [note("C", 4, 4, "<tie type='start'/>"), note("C", 4, 2, "<tie type='stop'/>")]
    flat = (
        "<note><pitch><step>B</step><alter>-1</alter><octave>3</octave></pitch><duration>2</duration></note>"
    )
    chord = "<note><chord/><pitch><step>G</step><octave>5</octave></pitch><duration>2</duration></note>"
    rest = "<note><rest/><duration>8</duration></note>"
    measures = [
        f"<attributes><divisions>8</divisions></attributes>{''.join(tied)}",
        flat + chord,
        f"{rest}{note('C', 4, 0)}",
    ]
    ((pitches, begins),) = scores.parts(mxl(measures))
    assert pitches.tolist() == [60, 60, 60, 58, 0, 0, 0, 0]
    assert begins.tolist() == [True, False, False, True, True, False, False, False]


def test_a_second_voice_that_goes_back_in_time_does_not_lengthen_a_score():
    whole = note("C", 5, 4)
    ((pitches, _),) = scores.parts(
        mxl([f"{whole}<backup><duration>4</duration></backup>{note('E', 4, 4)}", whole])
    )
    assert len(pitches) == 32


def test_foretelling_asks_for_the_next_token_after_what_is_given():
    part = foretelling([np.array([7, 8, 1, 2, 9]), np.array([7, 8, 3, 9])], given=2, steps=2)
    assert part.x.tolist() == [[7, 8, 1], [7, 8, 3]] and part.y.tolist() == [[8, 1, 2], [8, 3, 9]]
    assert part.scored.tolist() == [[False, True, True]] * 2 and part.lengths.tolist() == [3, 3]


def test_targets_of_another_length_end_with_a_class_that_counts():
    part = to_sequences([np.array([1, 2]), np.array([3])], [np.array([0]), np.array([0, 1])], end=2)
    assert part.x.tolist() == [[1, 2], [3, 0]] and part.lengths.tolist() == [2, 1]
    assert part.y.tolist() == [[0, 2, 0], [0, 1, 2]] and part.scored.tolist() == [
        [True, True, False],
        [True] * 3,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_both_parts(seed):
    groups = np.random.default_rng(seed).integers(0, 30, 100)
    train, test = grouped(np.random.default_rng(seed), groups, 20, 60)
    assert len(test) == 20 and 0 < len(train) <= 60 and len({*train, *test}) == len(train) + 20
    assert not {*groups[train]} & {*groups[test]}


@pytest.mark.parametrize(("test", "count"), [(0, 5), (5, 0), (6, 5), (10, None), (-1, None)])
def test_parts_that_cannot_be_had_are_refused(test, count):
    with pytest.raises(ValueError, match=f"test={test}.* of 10 sequences"):
        grouped(np.random.default_rng(0), np.arange(10), test, count)


def test_one_group_leaves_nothing_to_learn_from():
    with pytest.raises(ValueError, match="nothing to learn from"):
        grouped(np.random.default_rng(0), np.zeros(10), 3)


def test_padding_and_rows_are_inverse():
    flat, lengths = np.arange(1, 7), np.array([1, 3, 2])
    tokens, found = padded(rows(flat, lengths))
    assert tokens.tolist() == [[1, 0, 0], [2, 3, 4], [5, 6, 0]] and np.array_equal(found, lengths)


def edits(a, b):
    """The definition, by recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


def test_the_edit_distance_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = (rng.integers(0, 3, rng.integers(0, 6)).tolist() for _ in range(2))
        assert distance(a, b) == edits(a, b)
    assert distance("kitten", "sitting") == 3


def test_an_answer_ends_before_its_first_end():
    assert until(np.array([[1, 9, 2, 9], [9, 1, 1, 1], [1, 2, 3, 4]]), 9) == [[1], [], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    "spec",
    ["abc_tunes:steps=0", "abc_from_header:steps=-1", "chorales:voice=soprano", "chorales:per_quarter=3"],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(spec):
    with pytest.raises(ValueError, match=spec.partition(":")[2]) as error:
        task.get(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", ["steps=0", "count=0", "test=-1", "count=99999999"])
def test_windows_of_a_text_that_cannot_be_had_are_refused(option):
    stored(next_character, next_character.parse)
    with pytest.raises(ValueError, match=option):
        loaded(f"next_character:{option}")


@pytest.mark.parametrize("name", NAMES)
def test_absent_data_says_how_to_get_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path))
    with pytest.raises(DataAbsent, match="cellbench data fetch"):
        task.get(name).data(np.random.default_rng(0))


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_the_same_data_for_the_same_seed_and_other_data_for_another(name):
    data, again, other = loaded(name), task.get(name).data(np.random.default_rng(0)), loaded(name, 1)
    assert data.shape == shapes.of_name(name)
    for part, same in ((data.train, again.train), (data.test, again.test)):
        assert (
            np.array_equal(part.x, same.x)
            and np.array_equal(part.y, same.y)
            and np.array_equal(part.scored, same.scored)
        )
        assert (
            part.x.dtype == part.y.dtype == np.int64 and 0 <= part.x.min() <= part.x.max() < data.vocabulary
        )
    assert data.test.x.shape != other.test.x.shape or not np.array_equal(data.test.x, other.test.x)
    assert data.trivial_loss > data.target_loss > 0


def test_the_collection_has_4233_tunes_and_most_have_no_rhythm():
    found = stored(abc_tunes, abc.parse)
    assert len(found["lengths"]) == 4233 and found["lengths"].sum() == len(found["tokens"]) == 809_730
    named = found["rhythms"][found["header"][:, 0]]
    assert [(named == rhythm).sum() for rhythm in ("reel", "hornpipe")] == [707, 461]


def test_a_tune_begins_after_the_start_and_ends_with_the_end():
    data = loaded("abc_tunes:steps=5000:count=3000:test=400")
    start, end = data.vocabulary - 1, data.classes - 1
    for part in (data.train, data.test):
        assert (part.x[:, 0] == start).all() and (part.x[:, 1:] < end).all()
        assert (part.y[np.arange(len(part)), part.lengths - 1] == end).all()
        assert np.array_equal(part.x[:, 1:][part.scored[:, 1:]], part.y[:, :-1][part.scored[:, 1:]])


def openings(part, words, skip):
    """The opening of each tune, as far as its first 128 tokens show it."""
    for row, n in zip(part.x, part.lengths, strict=True):
        found = abc.opening([str(words[k]) if k < len(words) else "" for k in row[skip:n]])
        if len(found) == 24:
            yield found


@pytest.mark.parametrize(("name", "skip"), [("abc_tunes", 1), ("abc_from_header", 3)])
def test_no_melody_is_in_both_parts(name, skip):
    data, words = loaded(name), stored(abc_tunes, abc.parse)["words"][:-1]
    known, asked = ({*openings(part, words, skip)} for part in (data.train, data.test))
    assert len(asked) > 100 and not known & asked


def test_the_header_comes_first_and_is_not_asked_for():
    data = loaded("abc_from_header")
    assert (
        data.shape == ONE_TO_MANY
        and (data.test.x[:, :3] >= data.classes).all()
        and (data.test.x[:, 3:] < data.classes - 1).all()
    )
    assert not data.test.scored[:, :2].any() and data.test.scored[:, 2].all()
    assert data.test.scored.sum(1).max() == 128


def test_there_are_364_chorales_of_four_voices():
    found = stored(chorales, scores.parse)
    lengths = found["lengths"]
    assert len(lengths) == 364 and (lengths.min(), np.median(lengths), lengths.max()) == (96, 192, 772)
    assert [len(np.unique(voice)) for voice in found["pitches"]] == [24, 23, 23, 30]
    sounding = found["pitches"] > 0
    order = [found["pitches"][v][sounding[v]].mean() for v in range(4)]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("voice", ["alto", "bass"])
def test_only_the_steps_at_which_a_voice_moves_count_or_all_on_the_grid_of_quarters(voice):
    fine, coarse = loaded(f"chorales:voice={voice}"), loaded(f"chorales:voice={voice}:per_quarter=1")
    for part, quarters in ((fine.train, coarse.train), (fine.test, coarse.test)):
        changes = (part.y[:, 1:] != part.y[:, :-1]) & (np.arange(1, part.x.shape[1]) < part.lengths[:, None])
        assert part.scored[:, 0].all() and part.scored[:, 1:][changes].all() and part.scored.mean() < 0.4
        assert np.array_equal(quarters.y[quarters.scored], part.y[:, ::4][quarters.scored])
        assert np.array_equal(quarters.scored.sum(1), -(-part.lengths // 4))


def test_no_message_is_in_both_parts():
    data = loaded("translation")
    assert data.shape == TO_SEQUENCE and len(data.test) == 240 and 2100 < len(data.train) < 2180
    assert (
        (data.vocabulary, data.classes) == (84, 102)
        and data.train.x.shape[1] <= 60
        and data.train.y.shape[1] <= 81
    )
    known, asked = (
        {tuple(row[:n]) for row, n in zip(p.x, p.lengths, strict=True)} for p in (data.train, data.test)
    )
    assert not known & asked


def test_the_dictionary_has_124926_words_and_39_phonemes():
    found = stored(grapheme_to_phoneme, grapheme_to_phoneme.parse)
    assert (
        len(found["letter_lengths"]) == len(found["sound_lengths"]) == 124_926
        and len(found["phonemes"]) == 39
    )
    assert (
        np.median(found["letter_lengths"]) == 7
        and np.median(found["sound_lengths"]) == 6
        and found["sound_lengths"].max() == 28
    )
    first = [
        rows(found[name][:2000], found[f"{kind}_lengths"])
        for name, kind in (("letters", "letter"), ("sounds", "sound"))
    ]
    words = ["".join(found["alphabet"][k] for k in row) for row in first[0][:100]]
    assert [*found["phonemes"][first[1][words.index("aachen")]]] == ["AA", "K", "AH", "N"]


def test_dictionary_entries_lose_stress_remarks_and_other_pronunciations():
    text = "a AH0\na(2) EY1\na.m. EY2 EH1 M\nab AE1 B # note, of a place\n"
    found = grapheme_to_phoneme.parse({"d": text.encode()})
    assert found["phonemes"].tolist() == ["AE", "AH", "B"] and found["sounds"].tolist() == [1, 0, 2]
    assert found["letter_lengths"].tolist() == [1, 2] and found["alphabet"].tolist() == ["a", "b"]


def test_messages_with_placeholders_or_alike_or_too_long_are_left_out():
    import json

    messages = {
        "": {"domain": "d"},
        "Save": ["Enregistrer"],
        "menu\x04Open": ["Ouvrir"],
        "OK": ["OK"],
        "%1 rows": ["%1 lignes"],
        "x" * 61: ["y"],
        "None": [""],
        "Nothing": [],
    }
    found = translation.parse(
        {"a.json": json.dumps(messages).encode(), "b.json": json.dumps(messages).encode()}
    )
    texts = ["".join(found["source_alphabet"][row]) for row in rows(found["source"], found["source_lengths"])]
    assert texts == ["Save", "Open"] and found["target_lengths"].tolist() == [11, 6]


def test_right_answers_have_the_best_figures_and_wrong_ones_what_they_deserve():
    data = loaded("grapheme_to_phoneme")
    g2p, y = task.get("grapheme_to_phoneme"), data.test.y
    assert g2p.figures(data, y) == {"per": 0, "wer": 0}
    wrong = y.copy()
    wrong[: len(y) // 2, 0] = (wrong[: len(y) // 2, 0] + 1) % (data.classes - 1)
    phones = data.test.scored.sum() - len(y)
    assert g2p.figures(data, wrong) == {"per": len(y) // 2 / phones, "wer": 0.5}
    nothing = np.full_like(y, data.classes - 1)
    assert g2p.figures(data, nothing) == {"per": 1, "wer": 1}


def test_chrf_is_100_for_the_right_translations_and_near_0_for_others():
    data = loaded("translation")
    messages = task.get("translation")
    assert math.isclose(messages.figures(data, data.test.y)["chrf"], 100)
    assert messages.figures(data, np.full_like(data.test.y, data.classes - 1))["chrf"] == 0
    copied, remembered = messages.rivals(data)
    assert 15 < copied.figures["chrf"] < 30 < 45 < remembered.figures["chrf"] < 60 and math.isnan(copied.loss)


def test_a_character_is_followed_by_the_next_of_the_text_and_the_parts_do_not_meet():
    data, text = loaded("next_character"), stored(next_character, next_character.parse)["text"]
    assert len(text) > 5_000_000 and data.vocabulary == data.classes == 84 and data.shape == MANY_TO_MANY
    whole = text.tobytes()
    for part, low, high in ((data.train, 0, 0.9), (data.test, 0.9, 1)):
        for x, y in zip(part.x[:20], part.y[:20], strict=True):
            at = whole.find(np.append(x, y[-1]).astype(np.uint8).tobytes(), int(low * len(text)))
            assert low * len(text) - 1 <= at < high * len(text) and np.array_equal(x[1:], y[:-1])


FIGURES = {  # nats, of a study of the same data with another random split
    "abc_tunes:steps=5000:count=3600:test=420": {"unigram": 3.296, "bigram": 2.704, "trigram": 2.357},
    "chorales": {"no input": 2.509},
    "translation": {"unigram": 3.189, "bigram": 2.336},
    "grapheme_to_phoneme": {"unigram": 3.263},
    "next_character": {"unigram": 4.804 * math.log(2), "bigram": 3.605 * math.log(2)},
}


@pytest.mark.parametrize("spec", FIGURES)
def test_short_contexts_reach_what_others_measured(spec):
    found = {rival.name: rival.loss for rival in by_shape(loaded(spec))}
    for name, expected in FIGURES[spec].items():
        assert abs(found[name] - expected) < 0.06, (name, found[name])


@pytest.mark.parametrize("name", ["abc_from_header", "chorales", "translation"])
def test_a_cell_takes_a_step_on_every_shape_of_tokens(name):
    from cellbench import cells
    from cellbench.harness.case import Case
    from cellbench.harness.learn.model import Model, batches, loss_of

    data = loaded(name)
    case = Case("training", "gru", "torch", "cpu", "float32", steps=8, batch=8, input_size=4, hidden_size=6)
    model = Model(case, cells.get("gru").init(4, 6, 0), data.output_size, 0, data.shape, data.vocabulary)
    batch = next(batches(data.test, 8, "cpu", shape=data.shape))
    loss = loss_of(data, model.answer(batch), batch)
    loss.backward()
    assert (
        abs(float(loss.detach()) - math.log(data.output_size)) < 1
        and torch.isfinite(model.head_weight.grad).all()
    )


def test_the_archives_are_known_by_their_tasks():
    assert {*NAMES} <= {*archives.known()}
