"""Headspace: landmarks count from one, cameras look where the calibration says."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import headspace as fake
from fakes.nphm import ball

from fnbench.adapters.headspace import Headspace, read_tka
from fnbench.errors import InvalidDataError, InvalidSettingError


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


def test_a_reading_of_the_distortion_that_no_lens_has_is_refused(tmp_path):
    fake.write(tmp_path)
    path = tmp_path / "headspacePngTka" / "subjects" / "00001" / fake.STAMP / "calib_1C.tka"
    path.write_text(fake.TKA.replace("%K -0.00001", "%K -0.1"))
    with pytest.raises(
        InvalidDataError, match=r"calib_1C\.tka: %K read as sensor-mm .* Set distortion .* to normalised"
    ):
        Headspace(tmp_path).load("00001").photographs()
    (tmp_path / "fnbench.toml").write_text('distortion = "normalised"\n')
    (photograph,) = Headspace(tmp_path).load("00001").photographs()
    # The corner lies 210 and 260 pixels from the principal point, at a focal length of 1000 pixels.
    assert photograph.attributes["distortion_at_corner"] == pytest.approx(0.1 * (0.21**2 + 0.26**2), abs=1e-5)
    (tmp_path / "fnbench.toml").write_text('distortion = "polynomial"\n')
    with pytest.raises(InvalidSettingError, match="expected one of sensor-mm, normalised, none"):
        Headspace(tmp_path)


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
