"""Where dlib's face chip lies in an aligned picture, and the layers of its recognition network."""

from __future__ import annotations

CHIP = 150
CHIP_MEAN = (122.782, 117.001, 104.298)
# dlib's chip (five landmarks, padding 0.25) inside an FFHQ crop scaled by 0.8, as fractions of the crop's side: the
# median over 594 LFW photos, whose spread is 0.013 across, 0.010 down and 0.05 in width. The face is centred: the
# median of 0.508 across is an accident of the album.
CHIP_CENTRE, CHIP_WIDTH, CHIP_CROP_SCALE = (0.5, 0.632), 0.867, 0.8
_WIDTHS = (("32", ("1", "2", "3")), ("64", ("down", "1", "2", "3")), ("128", ("down", "1", "2")))
RESIDUALS = tuple(
    f"conv{width}_{step}" for width, steps in (*_WIDTHS, ("256", ("down", "1", "2", "down_out"))) for step in steps
)
