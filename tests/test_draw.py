"""Pictures with boxes and labels: whatever the size, they are drawn inside, legible, and the original is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli.ops import draw

CHANCES = {"angry": 0.1, "happy": 0.7, "surprise": 0.2}
ANGRY, HAPPY = draw.PALETTE[:2]


def faces(*boxes):
    return [draw.Face(box, "happy", CHANCES) for box in boxes]


def coloured(image, colour):
    """(H, W) bool: where the image has exactly this colour."""
    return (image == colour).all(axis=2)


def count_of(image, colour):
    return int(coloured(image, colour).sum())


def ground(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_the_image_is_left_alone_and_a_face_is_framed():
    image = ground(600, 800)
    out = draw.annotated(image, faces((300, 200, 120, 120)))
    assert (image == 100).all()
    assert (out.shape, out.dtype) == ((600, 800, 3), np.uint8)
    frame = coloured(out, HAPPY)
    assert frame[200:320, 300].all()
    assert frame[200:320, 419].all()
    assert (out[230:290, 330:390] == 100).all()  # the face itself is not painted over
    assert (draw.annotated(image, faces((300, 200, 120, 120))) == out).all()


@pytest.mark.parametrize("side", [512, 700, 1000])
def test_the_line_of_a_box_shows_on_any_ground(side):
    """Two px of the colour at the edge of the box, and a dark one on either side."""
    out = draw.annotated(ground(side, side), faces((200, 150, 100, 100)))
    expected = [(100, 100, 100), draw.BLACK, HAPPY, HAPPY, draw.BLACK, (100, 100, 100)]
    assert [tuple(pixel) for pixel in out[200, 198:204].tolist()] == expected
    assert [tuple(pixel) for pixel in out[251:245:-1, 250].tolist()] == expected


def test_a_box_in_a_corner_and_a_tiny_one():
    out = draw.annotated(ground(400, 400), faces((0, 0, 100, 100)))
    assert [tuple(pixel) for pixel in out[60, :4].tolist()] == [HAPPY, HAPPY, draw.BLACK, (100, 100, 100)]
    assert (draw.annotated(ground(400, 400), faces((0, 0, 1, 1)))[200:, 200:] == 100).all()


def test_gray_images_and_none_at_all():
    gray = np.full((300, 300), 7, np.uint8)
    assert (draw.annotated(gray, []) == 7).all()
    assert count_of(draw.annotated(gray, faces((50, 90, 120, 120))), HAPPY) > 0


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(1, 1, 300), (48, 48, 7), (75, 100, 4), (300, 300, 1), (400, 600, 1), (3, 1000, 1)],
)
def test_small_pictures_are_enlarged(height, width, factor):
    assert draw.magnification(height, width) == factor
    assert draw.annotated(ground(height, width), []).shape == (height * factor, width * factor, 3)


def test_sizes_follow_the_picture():
    """A photo twice as large is drawn on twice as large."""
    shares = []
    for factor in (1, 2, 5):
        out = draw.annotated(ground(600 * factor, 800 * factor), faces([v * factor for v in (300, 200, 120, 120)]))
        shares.append(count_of(out, (100, 100, 100)) / out[..., 0].size)
    assert max(shares) - min(shares) < 0.02


def test_every_probability_has_a_bar_of_its_length():
    out = draw.annotated(ground(600, 800), faces((300, 200, 120, 120)))
    panel = out[200:400, 424:]
    lengths = [coloured(panel, colour).sum(axis=1).max() for colour in draw.PALETTE[:3]]
    assert lengths[1] == max(lengths)
    assert lengths[1] / lengths[2] == pytest.approx(3.5, rel=0.15)
    assert lengths[0] / lengths[2] == pytest.approx(0.5, rel=0.25)


def test_labels_do_not_cover_the_next_face():
    boxes = [(100, 300, 100, 100), (100, 195, 100, 100), (215, 250, 100, 100)]
    out = draw.annotated(ground(600, 800), faces(*boxes))
    for x, y, w, h in boxes:
        assert (out[y + 10 : y + h - 10, x + 10 : x + w - 10] == 100).all()


@pytest.mark.parametrize(
    "boxes",
    [
        [(4 + 96 * x, 8 + 96 * y, 88, 80) for y in range(6) for x in range(10)],  # touching, up to the picture's edges
        [(20 + 25 * x, 20 + 60 * y, 22, 22) for y in range(8) for x in range(30)],  # far smaller than a label
        [(300 + 30 * i, 200 + 20 * i, 150, 150) for i in range(6)],  # one over the other
    ],
)
def test_labels_of_a_crowd_cover_no_face_and_no_other_label(boxes, monkeypatch):
    tags = []
    monkeypatch.setattr(draw, "_draw_tag", lambda canvas, tag, *_: tags.append(tag))
    out = draw.annotated(ground(600, 960), faces(*boxes))
    assert len(tags) >= min(6, len(boxes))
    covered = np.zeros(out.shape[:2], int)
    for tag in tags:
        x, y, wide, high = tag.place
        assert min(x, y) >= 0
        assert x + wide <= 960
        assert y + high <= 600
        covered[y : y + high, x : x + wide] += 1
    assert covered.max() == 1
    for x, y, w, h in boxes:
        assert not covered[y + h // 4 + 1 : y + h * 4 // 5, x : x + w].any()


def test_a_label_without_room_goes_without_its_probability(monkeypatch):
    texts = []
    monkeypatch.setattr(draw, "_draw_tag", lambda canvas, tag, *_: texts.append(tag.text))
    for width in (300, 40):
        draw.annotated(ground(1300, width), faces((0, 600, width, 100)))
    assert texts == ["happy 70%", "happy"]


@pytest.mark.parametrize(("height", "width"), [(5, 2000), (2000, 5), (1, 5000), (5000, 1), (12, 1201)])
def test_nothing_is_written_where_it_cannot_be_read(height, width):
    assert (draw.annotated(ground(height, width), [], "no face") == 100).all()
    side = min(height, width)
    out = draw.annotated(ground(height, width), faces((0, 0, side, side)))
    assert count_of(out, HAPPY) > 0  # the box, and nothing beside it
    assert (out[side + 1 :] == 100).all()
    assert (out[:, side + 1 :] == 100).all()


def test_many_faces_have_no_panels():
    few, many = (
        draw.annotated(ground(900, 900), faces(*[(100 + 200 * (i % 4), 60 + 200 * (i // 4), 60, 60) for i in range(n)]))
        for n in (2, 16)
    )
    assert count_of(few, ANGRY) > 0
    assert count_of(many, ANGRY) == 0
    assert count_of(many, HAPPY) > 16 * 60


def test_a_note_stands_in_the_corner():
    out = draw.annotated(ground(400, 400), [], note="no face")
    changed = np.argwhere((out != 100).any(axis=2))
    assert changed.min(axis=0).tolist() == [0, 0]
    assert changed.max(axis=0)[0] < 60


def test_a_track_has_its_number():
    face = faces((300, 200, 120, 120))[0]
    assert (
        draw.annotated(ground(600, 800), [face._replace(track=3)]) != draw.annotated(ground(600, 800), [face])
    ).any()


@pytest.mark.parametrize(("text", "shown"), [("sad", "sad"), ("fröhlich", "frohlich"), ("喜", "?"), ("a\nb", "a?b")])
def test_text_is_plain(text, shown):
    assert draw.plain(text) == shown


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.lists(st.tuples(*[st.floats(-500, 900)] * 2, *[st.floats(0, 900)] * 2), max_size=4),
    st.sampled_from(["", "no face", "x" * 300]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_boxes(size, boxes, note):
    height, width = size
    out = draw.annotated(ground(height, width), faces(*boxes), note)
    factor = draw.magnification(height, width)
    assert out.shape == (height * factor, width * factor, 3)


def test_a_sheet_has_a_row_of_images_for_each_group():
    tile = np.full((48, 48, 3), 200, np.uint8)
    out = draw.sheet([("happy: 5 faces", [(tile, "90%")] * 5), ("sad: none", [])], 48, 4)
    assert out.shape[1] == 4 * (48 + 4) + 4
    assert count_of(out, (200, 200, 200)) >= 5 * 48 * 48
