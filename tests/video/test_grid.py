import pytest

from pipeline.config.dataset import Frames
from pipeline.video.grid import GRIDS, pick

T, F = True, False


def test_centres_are_the_middles_of_equal_parts():
    # 100 frames in 4 parts of 25: the middles 12.5, 37.5, 62.5, 87.5 rounded down.
    assert pick("centres", num_frames=100, fps=3, number=4) == ([12, 37, 62, 87], [T, T, T, T])


def test_centres_of_as_many_parts_as_frames_are_all_frames():
    assert pick("centres", num_frames=5, fps=3, number=5) == ([0, 1, 2, 3, 4], [T] * 5)


def test_centres_pad_a_short_clip_at_the_end():
    assert pick("centres", num_frames=2, fps=3, number=4) == ([0, 1, -1, -1], [T, T, F, F])


def test_clip4clip_takes_one_frame_a_second_and_pads_with_masked_places():
    # 3.3 seconds: seconds 0, 1, 2, 3 are the frames 0, 3, 6, 9.
    assert pick("clip4clip", num_frames=10, fps=3, number=6) == ([0, 3, 6, 9, -1, -1], [T, T, T, T, F, F])


def test_clip4clip_thins_the_seconds_from_the_first_to_the_last():
    # 10 seconds to 4: positions 0, 3, 6, 9 of the seconds.
    assert pick("clip4clip", num_frames=30, fps=3, number=4) == ([0, 9, 18, 27], [T] * 4)
    # 8 seconds to 3: positions 0, 3.5, 7.
    assert pick("clip4clip", num_frames=24, fps=3, number=3) == ([0, 9, 21], [T] * 3)


def test_clip4clip_cuts_the_rate_to_an_integer():
    assert pick("clip4clip", num_frames=60, fps=29.97, number=3)[0] == [0, 29, 58]


def test_mv_adapter_takes_left_edges_and_never_the_last_second():
    # 10 seconds to 4: positions 0, 2, 5, 7.
    assert pick("mv_adapter", num_frames=30, fps=3, number=4) == ([0, 6, 15, 21], [T] * 4)


def test_mv_adapter_pads_a_short_clip():
    assert pick("mv_adapter", num_frames=7, fps=3, number=5) == ([0, 3, 6, -1, -1], [T, T, T, F, F])


def test_xpool_takes_the_middles_of_integer_intervals():
    # Edges 0, 3, 6, 10: the middles of 0..2, 3..5, 6..9.
    assert pick("xpool", num_frames=10, fps=3, number=3) == ([1, 4, 7], [T] * 3)


def test_xpool_repeats_the_last_frame_and_masks_nothing():
    assert pick("xpool", num_frames=2, fps=3, number=5) == ([0, 1, 1, 1, 1], [T] * 5)


def test_tempme_thins_the_seconds_of_a_long_clip():
    assert pick("tempme", num_frames=30, fps=3, number=4) == ([0, 9, 18, 27], [T] * 4)
    assert pick("tempme", num_frames=12, fps=3, number=4) == ([0, 3, 6, 9], [T] * 4)


def test_tempme_spreads_a_short_clip_over_all_its_frames():
    # 4 seconds for 5 places: 0, 2.75, 5.5, 8.25, 11 of the 12 frames.
    assert pick("tempme", num_frames=12, fps=3, number=5) == ([0, 2, 5, 8, 11], [T] * 5)
    assert pick("tempme", num_frames=1, fps=3, number=3) == ([0, 0, 0], [T] * 3)


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_every_grid_gives_number_places_in_order_inside_the_clip(name):
    for num_frames in range(1, 80):
        for number in (1, 5, 12):
            index, mask = pick(name, num_frames=num_frames, fps=3, number=number)
            chosen = [i for i, real in zip(index, mask, strict=True) if real]
            assert len(index) == len(mask) == number
            assert chosen == sorted(chosen) and chosen[0] >= 0 and chosen[-1] < num_frames
            assert index[len(chosen) :] == [-1] * (number - len(chosen))
            assert mask[: len(chosen)] == [True] * len(chosen)


def test_the_grids_are_those_that_params_yaml_may_name():
    assert list(GRIDS) == list(Frames.__dataclass_fields__["grid"].metadata["choices"])


def test_a_clip_without_frames_is_refused():
    with pytest.raises(ValueError, match="of 0 frames"):
        pick("centres", num_frames=0, fps=3, number=3)
