"""Best paths through texts with gaps and missing words: against all paths, against torchaudio, and in little memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st.decoding.alignment import anchors, viterbi
from st.decoding.alignment.lattice import NONE, Lattice, LatticeWord, build_lattice
from st.decoding.alignment.score_rows import BLANK_COLUMN, FIRST_LABEL, GAP_COLUMN, ScoreColumns, ScoreFile
from st.decoding.alignment.viterbi import Pin, best_path
from st.errors import DecodingError

DELIMITER, LETTERS = FIRST_LABEL, (FIRST_LABEL + 1, FIRST_LABEL + 2)


class _Rows:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows.astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.rows[start:stop]


def _arcs(lattice: Lattice, state: int) -> dict[int, float]:
    """What may follow a state, and the price, by the definition: a path stays, goes on, or bypasses; hubs lead to later ones."""
    price = dict(zip(lattice.hubs.tolist(), lattice.prices.tolist(), strict=True))
    found: dict[int, float] = {}
    for at, cost in _changes(price, state).items():
        for other in (at, at + 1, at + 2):
            if other < len(lattice) and (other < at + 2 or lattice.bypass[other]):
                found[other] = min(cost, found.get(other, np.inf))
    return found


def _changes(price: dict[int, float], state: int) -> dict[int, float]:
    return {hub: price[hub] - price[state] for hub in price if hub >= state} if state in price else {state: 0.0}


def _all_paths(lattice: Lattice, rows: np.ndarray) -> dict[tuple[int, ...], float]:
    """Every path and its score."""
    arcs = [_arcs(lattice, state) for state in range(len(lattice))]
    paths: dict[tuple[int, ...], float] = {(): 0.0}
    for row in rows:
        paths = {
            (*path, state): score - price + row[lattice.columns[state]]
            for path, score in paths.items()
            for state, price in arcs[path[-1] if path else 0].items()
        }
    price = dict(zip(lattice.hubs.tolist(), lattice.prices.tolist(), strict=True))
    ends = [len(lattice) - 1, len(lattice) - 2]
    last = {path: _changes(price, path[-1]) for path in paths}
    costs = {path: min((last[path][end] for end in ends if end in last[path]), default=np.inf) for path in paths}
    return {path: score - costs[path] for path, score in paths.items() if costs[path] < np.inf}


WORDS = st.lists(
    st.builds(
        LatticeWord,
        st.lists(st.sampled_from(LETTERS), min_size=1, max_size=2).map(tuple),
        st.booleans(),
        st.booleans(),
        st.floats(0.1, 3.0),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("cells", [1 << 20, 5])
@settings(max_examples=40)
@given(WORDS, st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 10_000))
def test_the_path_is_the_best_of_all(
    cells: int, words: list[LatticeWord], frames: int, star_edges: bool, skip: bool, seed: int
) -> None:
    lattice = build_lattice(words, DELIMITER, star_edges=star_edges, skip=skip)
    rows = -np.random.default_rng(seed).exponential(2, size=(frames, 7)).astype(np.float32)
    paths = _all_paths(lattice, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "TABLE_CELLS", cells)
        if not paths:
            with pytest.raises(DecodingError, match="more frames"):
                best_path(_Rows(rows), lattice, frames)
            return
        path = best_path(_Rows(rows), lattice, frames)
    assert paths[tuple(path.tolist())] == pytest.approx(max(paths.values()), abs=1e-5)


def _score(lattice: Lattice, rows: np.ndarray, path: np.ndarray) -> float:
    """Score a path that says the last word."""
    assert path[-1] >= len(lattice) - 2
    prices = sum(_arcs(lattice, one)[other] for one, other in itertools.pairwise([0, *path.tolist()]))
    return rows[np.arange(len(path)), lattice.columns[path]].sum() - prices


@pytest.mark.parametrize("seed", range(6))
def test_halves_give_what_a_table_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(seed)
    rows = -generator.exponential(2, size=(40, 7))
    words = [LatticeWord(LETTERS, at > 0, True, float(generator.uniform(0.1, 2))) for at in range(40)]
    lattice = build_lattice([*words, LatticeWord(LETTERS, True, True, 1e6)], DELIMITER)
    table = best_path(_Rows(rows), lattice, 40)
    monkeypatch.setattr(viterbi, "TABLE_CELLS", 50)
    halves = best_path(_Rows(rows), lattice, 40)
    assert _score(lattice, rows, halves) == pytest.approx(_score(lattice, rows, table), abs=1e-4)


@pytest.mark.parametrize("cells", [1 << 20, 3000])
def test_without_liberties_it_is_forced_alignment(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchaudio.functional import forced_align

    monkeypatch.setattr(viterbi, "TABLE_CELLS", cells)
    generator = np.random.default_rng(2)
    log_probs = torch.from_numpy(generator.normal(0, 3, size=(400, 9))).float().log_softmax(-1)
    delimiter, texts = 8, [generator.integers(1, 8, size=generator.integers(1, 6)).tolist() for _ in range(25)]
    columns = ScoreColumns(range(1, 9), 9, delimiter=delimiter, star_price=1.0, wild_price=1.0)
    words = [LatticeWord(tuple(columns.of(text).tolist()), number > 0, False, 1.0) for number, text in enumerate(texts)]
    lattice = build_lattice(words, columns.delimiter, star_edges=False, skip=False)
    path = best_path(_Rows(columns.rows(log_probs)[0]), lattice, 400)
    labels = [label for number, text in enumerate(texts) for label in [*([delimiter] if number else []), *text]]
    expected, _ = forced_align(log_probs[None], torch.tensor([labels], dtype=torch.int32))
    assert lattice.columns[path].tolist() == columns.of(expected[0].numpy()).tolist()


def test_columns_stand_for_what_they_say() -> None:
    probabilities = torch.tensor([[0.5, 0.2, 0.1, 0.15, 0.05], [0.1, 0.6, 0.1, 0.1, 0.1], [0.2, 0.1, 0.1, 0.5, 0.1]])
    columns = ScoreColumns([2, 4], 5, delimiter=3, star_price=0.5, wild_price=0.25)
    rows, best = columns.rows(probabilities.log())
    assert best.tolist() == [0, 1, 3]
    assert columns.of([0, 1, 2, 3, 4]).tolist() == [BLANK_COLUMN, NONE, FIRST_LABEL, FIRST_LABEL + 1, FIRST_LABEL + 2]
    blank, gap, wild, top, *letters = rows.T
    assert np.exp(top) == pytest.approx([0.5, 0.6, 0.5])
    assert np.exp(blank + top) == pytest.approx([0.5, 0.1, 0.2])
    assert gap == pytest.approx([0.0, -0.5, 0.0])  # silence, a letter, a space
    assert wild == pytest.approx([0.0, -0.25, -0.25])
    assert (np.exp(letters + top).T - probabilities[:, [2, 3, 4]].numpy()) == pytest.approx(0, abs=1e-6)
    with pytest.raises(DecodingError, match=r"labels \[7\]; the CTC head has labels 1 to 4"):
        ScoreColumns([7], 5, delimiter=3, star_price=1, wild_price=1)
    with pytest.raises(DecodingError, match="NaN or infinity"):
        columns.rows(torch.full((1, 5), torch.nan))


def test_scores_lie_in_a_file_as_they_were_written() -> None:
    rows = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float16).astype(np.float32)
    with ScoreFile(6) as file:
        for start in range(0, 70, 33):
            file.append(rows[start : start + 33])
        assert file.num_frames == 70
        assert (file.read(20, 50) == rows[20:50]).all()
        assert (file.read(0, 70) == rows).all()
        assert file.read(70, 70).shape == (0, 6)
        with pytest.raises(DecodingError, match="ends before frame 71"):
            file.read(60, 71)


def _spoken(letters: np.ndarray, generator: np.random.Generator, frames_each: int = 3) -> np.ndarray:
    """Best column of each frame, as if every letter took a frame after some blanks."""
    best = np.zeros(len(letters) * frames_each, dtype=np.int32)
    best[generator.integers(0, frames_each - 1, len(letters)) + frames_each * np.arange(len(letters))] = letters
    return best


def test_pins_are_where_the_text_was_heard_and_nowhere_else() -> None:
    generator = np.random.default_rng(4)
    said = generator.integers(FIRST_LABEL + 1, FIRST_LABEL + 27, 4000).astype(np.int32)
    written = np.concatenate([said[:1000], said[2000:3000], said[1500:1530], said[3000:]])  # one passage missing,
    best = _spoken(said, generator)  # and a phrase from it in another place
    words = [LatticeWord(tuple(written[at : at + 5].tolist()), at > 0, True, 1.0) for at in range(0, len(written), 5)]
    lattice = build_lattice(words, FIRST_LABEL)
    pins = anchors.find_pins(anchors.heard_letters(best, FIRST_LABEL), lattice)
    assert len(pins) >= 5
    states = np.flatnonzero(lattice.words != NONE)
    for pin in pins:
        said_at = pin.frame // 3
        place = int(np.searchsorted(states, pin.state))
        assert said_at == (place if place < 1000 else place + 1000 if place < 2000 else place + 970)
    assert all(one.frame < other.frame and one.state < other.state for one, other in itertools.pairwise(pins))


def test_nothing_is_pinned_where_other_things_were_said() -> None:
    generator = np.random.default_rng(4)
    said, written = (generator.integers(FIRST_LABEL + 1, FIRST_LABEL + 27, 3000).astype(np.int32) for _ in range(2))
    written[1500:1520] = said[700:720]  # a phrase alone
    lattice = build_lattice([LatticeWord(tuple(written.tolist()), False, True, 1.0)], FIRST_LABEL)
    assert anchors.find_pins(anchors.heard_letters(_spoken(said, generator), FIRST_LABEL), lattice) == []
    assert anchors.find_pins(anchors.heard_letters(np.zeros(9, dtype=np.int32), FIRST_LABEL), lattice) == []


def test_a_pinned_path_goes_through_its_pins() -> None:
    rows = -np.random.default_rng(1).exponential(2, size=(40, 7))
    words = [LatticeWord(LETTERS, number > 0, True, 2.0) for number in range(6)]
    lattice = build_lattice(words, DELIMITER)
    free = best_path(_Rows(rows), lattice, 40)
    assert (best_path(_Rows(rows), lattice, 40, [Pin(20, int(free[20]))]) == free).all()
    forced = best_path(_Rows(rows), lattice, 40, [Pin(20, 11), Pin(30, 15)])
    assert (forced[20], forced[30]) == (11, 15)


def test_memory_is_that_of_a_table_whatever_the_length() -> None:
    def peak(frames: int) -> int:
        rows = -np.random.default_rng(1).exponential(2, size=(frames, 7))
        words = [LatticeWord(LETTERS, True, True, 2.0) for _ in range(frames // 8)]
        lattice = build_lattice(words, DELIMITER)
        tracemalloc.start()
        best_path(_Rows(rows), lattice, frames)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "TABLE_CELLS", 1 << 17)
        assert peak(1600) < 1.3 * peak(800)


def test_gaps_are_one_state_with_a_star_and_three_without() -> None:
    with_star = build_lattice([LatticeWord(LETTERS, True, True, 1.0)] * 2, DELIMITER)
    without = build_lattice([LatticeWord(LETTERS, True, False, 1.0)] * 2, DELIMITER, star_edges=False)
    first, second = LETTERS
    assert with_star.columns.tolist() == [
        GAP_COLUMN, first, BLANK_COLUMN, second, GAP_COLUMN, first, BLANK_COLUMN, second, GAP_COLUMN
    ]  # fmt: skip
    assert without.columns[3:8].tolist() == [second, BLANK_COLUMN, DELIMITER, BLANK_COLUMN, first]
    assert without.bypass[3:8].tolist() == [True, False, True, False, True]
    assert with_star.hubs.tolist() == [0, 4, 8]
    assert with_star.prices.tolist() == [0, 1, 2]
