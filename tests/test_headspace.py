"""Headspace: landmarks count from one, cameras look where the calibration says."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import headspace as fake
from fakes.nphm import ball

from fnbench.adapters.headspace import Headspace, read_tka
from fnbench.errors import InvalidDataError


def test_landmarks_are_the_named_vertices(tmp_path):
    fake.write(tmp_path)
    capture = Headspace(tmp_path).load("00001")
    np.testing.assert_allclose(capture.landmarks, ball().vertices[fake.landmarks() - 1], atol=1e-4)
    assert dict(capture.attributes) == {"age": "34", "beardDescriptor": "none"}
    np.testing.assert_array_equal(capture.scan.colors[0], [180, 140, 120])


def test_only_colour_cameras_with_a_calibration_are_handed_out(tmp_path):
    fake.write(tmp_path)
    (photograph,) = Headspace(tmp_path).load("00001").photographs()
    assert photograph.name == "1C"
    assert Headspace(tmp_path).load("01519").photographs is None
    np.testing.assert_allclose(photograph.camera.centre, fake.CENTRE)
    pixels, depth = photograph.camera.project(np.array([[30.0, 20, 100], [40, 20, 100]]))
    np.testing.assert_allclose(pixels, [[210, 260], [210 + 1000 * 10 / 1100, 260]])
    np.testing.assert_allclose(depth, 1100)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 0 0\n", "2 0 0\n", "no rotation"),
        ("%f 50", "", "%f missing"),
        ("400 500", "400", "%is"),
        ("50", "x", "could not"),
    ],
)
def test_a_damaged_calibration_is_named(tmp_path, old, new, message):
    path = tmp_path / "calib_1C.tka"
    path.write_text(fake.TKA.replace(old, new, 1))
    with pytest.raises(InvalidDataError, match=rf"calib_1C\.tka: .*{message}"):
        read_tka(path)
