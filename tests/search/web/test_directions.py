import pytest

from pipeline.search.web.directions import turned


@pytest.mark.parametrize(
    ("sentence", "backwards"),
    [
        ("a red star moves up", "a red star moves down"),
        ("a star slides to the bottom and turns from red to blue", "a star slides to the top and turns from blue to red"),
        ("a man sits down", "a man stands up"),
        ("the circle becomes invisible", "the circle becomes visible"),
        ("the blue square spins", ""),
        ("upstairs and downtown", ""),
        ("", ""),
    ],
)
def test_a_sentence_is_turned_round_where_it_names_a_direction(sentence, backwards):
    assert turned(sentence) == backwards
    assert not backwards or turned(backwards) == sentence
