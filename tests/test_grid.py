"""The picture grid: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fnbench.report.grid import GridRow, normal_colours, write_grid


def ball(size=64):
    columns, rows = np.meshgrid(*[np.linspace(-1.2, 1.2, size)] * 2)
    mask = columns**2 + rows**2 < 1
    z = np.sqrt(np.clip(1 - columns**2 - rows**2, 0, None))
    return np.stack([columns, -rows, z], -1) * mask[..., None], mask


def test_colours_follow_the_axes():
    normals = np.array([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]]])
    expected = [[[255, 128, 128], [128, 255, 128], [128, 128, 255], [0, 128, 128]]]
    np.testing.assert_array_equal(normal_colours(normals), expected)


def test_a_grid_is_written_and_errors_show(tmp_path):
    normals, mask = ball()
    image = np.full((64, 64, 3), 90, np.uint8)
    flat = np.broadcast_to([0.0, 0, 1], normals.shape)
    row = GridRow("a & <b> $x_1", image, normals, flat, np.where(mask, 40.0, 0), mask)
    write_grid(tmp_path / "grid.png", "title with 50 % and $", [row])
    picture = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB")).astype(int)
    assert picture.shape[1] > 600
    warm = (picture[..., 0] > 200) & (picture[..., 1] > 100) & (picture[..., 2] < 190)
    assert warm.sum() > 500  # 40 of 45 degrees lies at the bright end of the scale
