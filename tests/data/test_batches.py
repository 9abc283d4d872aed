"""Which sample comes in which step."""
import pytest

from src.data.batches import Batches


def keys(batches: Batches, epoch: int) -> list[list[int]]:
    batches.epoch = epoch
    return list(batches)


def test_an_epoch_is_one_shuffle_and_depends_on_seed_and_epoch():
    batches = Batches(5, 2, seed=1)
    first, second = keys(batches, 0), keys(batches, 1)
    assert [len(batch) for batch in first] == [2, 2, 1] and batches.steps == 3
    assert sorted(sum(first, [])) == list(range(5)) and sorted(sum(second, [])) == list(range(5, 10))
    assert keys(Batches(5, 2, seed=1), 1) == second != keys(Batches(5, 2, seed=2), 1)


def test_epochs_of_a_number_of_steps_go_on_through_the_shuffles():
    batches = Batches(5, 2, seed=0, steps=3)
    stream = sum((sum(keys(batches, epoch), []) for epoch in range(5)), [])
    assert len(stream) == 30 and sorted(stream) == list(range(30))
    assert [sorted(stream[5 * n:5 * n + 5]) for n in range(6)] == [list(range(5 * n, 5 * n + 5)) for n in range(6)]
    whole = Batches(5, 2, seed=0)
    assert stream[:5] == sum(keys(whole, 0), [])


def test_accumulation_and_processes_see_the_samples_of_one_big_batch():
    big = Batches(24, 8, seed=0)
    parts = [Batches(24, 2, seed=0, accumulate=2, rank=rank, world=2) for rank in range(2)]
    assert big.groups() == parts[0].groups() == parts[1].groups()
    for group in big.groups():
        pieces = [batch for part in parts for batch in part.micro_batches(group)]
        assert [len(piece) for piece in pieces] == [2] * 4 and sorted(sum(pieces, [])) == sorted(group)


def test_parts_are_drawn_by_their_weights_and_fractions_take_turns():
    batches, drawn = Batches(14, 3, seed=3, parts=[(4, 2.0), (4, 1.0), (6, 0.5)]), []
    for epoch in range(4):
        drawn += [divmod(key, 14) for key in sum(keys(batches, epoch), [])]
        indices = [index for _, index in drawn[-15:]]
        assert len(drawn) == 15 * (epoch + 1)
        assert [sum(index in part for index in indices) for part in (range(4), range(4, 8), range(8, 14))] == [8, 4, 3]
    assert len(set(drawn)) == 60, "no key comes twice: each draw has random choices of its own"
    counts = [sum(index == other for _, index in drawn) for other in range(14)]
    assert counts == [8] * 4 + [4] * 4 + [2] * 6
    assert keys(Batches(14, 3, seed=3, parts=[(14, 1.0)]), 2) == keys(Batches(14, 3, seed=3), 2)


def test_a_weight_between_two_numbers_goes_on_where_it_stopped():
    batches = Batches(5, 100, seed=0, parts=[(5, 1.4)])
    drawn = sum((sum(keys(batches, epoch), []) for epoch in range(5)), [])
    assert sorted(drawn) == list(range(35)), "seven passes in five epochs"


def test_several_processes_leave_the_rest_out_and_too_few_pictures_are_refused():
    assert [len(group) for group in Batches(7, 1, seed=0, world=3).groups()] == [3, 3]
    with pytest.raises(ValueError, match="2 training pictures are too few for a step of 3"):
        Batches(2, 1, seed=0, world=3)
