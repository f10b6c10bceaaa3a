"""Photometric stereo on surfaces whose normals are known, and light files in every form anybody has hinted at."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from fakes import lit
from fakes.photoface import WRITTEN, light_file
from hypothesis import given
from hypothesis import strategies as st

from fnbench.errors import InvalidDataError
from fnbench.photometric import rig
from fnbench.photometric.exposures import linear_intensity, shift_onto, shifted, shifts_between
from fnbench.photometric.lights import CASES, case_matrix, from_angles, parse_lights
from fnbench.photometric.stereo import photometric_stereo, solve, solve_subsets

FACE = lit.face()
SKIN = lit.skin(FACE[2].shape)


def exposures(images, gamma=1.0):
    return np.stack([linear_intensity(image, gamma) for image in images])


def angles(predicted, target):
    sine = np.linalg.norm(np.cross(predicted, target), axis=-1)
    return np.degrees(np.arctan2(sine, (predicted * target).sum(axis=-1)))


def errors(recovered):
    """Angles to the true normals, in degrees, where both are known; and the share of the face that is."""
    _, normals, mask = FACE
    both = recovered.mask & mask
    return angles(recovered.normals[both], normals[both]), both.sum() / mask.sum()


@cache
def photographs(**light):
    return lit.photographs(*FACE, lit.directions(), SKIN, **light)


# -- recovery ----------------------------------------------------------------------------------------------------------

BOUNDS = {
    "matt, no cast shadows": ({"cast": False}, 0.2),
    "cast shadows": ({}, 0.2),
    "cast shadows and noise": ({"noise": 1.0}, 0.6),
    "highlights": ({"specular": 0.15}, 1.2),
    "everything": ({"specular": 0.3, "noise": 2.0}, 2.4),
}
"""Light on the analytic face, and the largest mean error in degrees; rounding to 8 bit is always there."""


@pytest.mark.parametrize(("light", "bound"), BOUNDS.values(), ids=BOUNDS)
def test_a_face_under_four_lights_gives_its_normals_back(light, bound):
    error, share = errors(photometric_stereo(exposures(photographs(**light)), lit.directions()))
    assert error.mean() < bound
    assert share > 0.85


@pytest.mark.parametrize("light", [{"specular": 0.15}, {"specular": 0.3, "noise": 2.0}])
def test_leaving_out_shadows_and_highlights_at_least_halves_the_error_of_plain_least_squares(light):
    taken = exposures(photographs(**light))
    robust = photometric_stereo(taken, lit.directions())
    plain = solve(taken.reshape(4, -1).astype(float), lit.directions(), np.ones((4, taken[0].size)))
    both = robust.mask & FACE[2]
    plain_error = angles(plain.T.reshape(FACE[1].shape)[both] / 1.0, FACE[1][both])
    assert errors(robust)[0].mean() < plain_error.mean() / 2


def test_the_residual_stands_out_where_the_surface_is_not_matt():
    recovered = photometric_stereo(exposures(photographs(specular=0.15)), lit.directions())
    error, _ = errors(recovered)
    residual = recovered.residual[recovered.mask & FACE[2]]
    worst = residual > np.percentile(residual, 90)
    assert error[worst].mean() > 1.5 * error[~worst].mean()
    assert np.median(residual) < 0.02


def test_a_coded_photograph_needs_its_gamma():
    taken = photographs(gamma=2.2)
    right = errors(photometric_stereo(exposures(taken, 2.2), lit.directions()))[0].mean()
    wrong = errors(photometric_stereo(exposures(taken, 1.0), lit.directions()))[0].mean()
    assert right < 0.5
    assert wrong > 4


def test_albedo_and_observations():
    recovered = photometric_stereo(exposures(photographs(cast=False)), lit.directions())
    inside = recovered.mask & FACE[2]
    np.testing.assert_allclose(recovered.albedo[inside], 0.75 * SKIN.mean(axis=2)[inside], atol=0.01)
    assert (recovered.used.sum(axis=0)[recovered.mask] >= 3).all()


def test_twelve_lights_with_outliers_in_two():
    around = np.stack([np.full(12, 35.0), np.arange(12) * 30.0], axis=-1)
    lights = from_angles(*around.T)
    taken = exposures(lit.photographs(*FACE, lights, SKIN, noise=1.0))
    taken[[2, 7]] = np.minimum(1, taken[[2, 7]] + 0.3)
    error, share = errors(photometric_stereo(taken, lights))
    # At the rim two outliers stand against four lit observations, and win in some pixels.
    assert np.percentile(error, 95) < 1.0
    assert share > 0.95


def test_darkness_has_no_normal_and_no_warning():
    recovered = photometric_stereo(np.zeros((4, 5, 6)), lit.directions())
    assert not recovered.mask.any()
    assert not recovered.normals.any()


@given(st.integers(0, 15), st.integers(0, 1000))
def test_subsets_and_weights_give_the_same_least_squares(code, seed):
    intensity = np.random.default_rng(seed).uniform(0, 1, (4, 3))
    used = np.repeat(np.array([code >> k & 1 for k in range(4)], bool)[:, None], 3, axis=1)
    weighted = solve(intensity, lit.directions(), used.astype(float))
    np.testing.assert_allclose(solve_subsets(intensity, lit.directions(), used), weighted, atol=1e-9)


def test_lights_and_exposures_must_fit():
    with pytest.raises(ValueError, match="expected K >= 3"):
        photometric_stereo(np.zeros((4, 2, 2)), np.zeros((3, 3)))


# -- azimuth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("light", [{}, {"specular": 0.2, "noise": 1.5}], ids=["clean", "real"])
def test_each_of_the_eight_azimuth_cases_is_recovered(case, light):
    lights = parse_lights(light_file(case=case), "LightSource.m")
    recovered = photometric_stereo(exposures(photographs(**light)), lights.directions)
    decision = rig.decide([rig.evidence(recovered.normals, recovered.mask & FACE[2])], "here")
    assert decision.case == case
    turned = recovered.normals @ decision.matrix.T
    both = recovered.mask & FACE[2]
    assert angles(turned[both], FACE[1][both]).mean() < 2.5


def test_the_eight_cases_are_the_symmetries_of_a_square():
    matrices = [case_matrix(case) for case in CASES]
    assert len({matrix.tobytes() for matrix in matrices}) == 8
    for matrix in matrices:
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(3))
    assert sorted(np.linalg.det(matrix) for matrix in matrices) == [-1] * 4 + [1] * 4


@pytest.mark.parametrize("case", CASES)
def test_a_turned_or_mirrored_rig_has_the_same_residual(case):
    """Which is why only a face can decide: the images cannot."""
    taken = exposures(photographs(noise=1.0))
    turned = photometric_stereo(taken, lit.directions() @ case_matrix(case))
    straight = photometric_stereo(taken, lit.directions())
    both = straight.mask & turned.mask
    np.testing.assert_allclose(turned.residual[both], straight.residual[both], atol=1e-4)
    np.testing.assert_allclose(turned.normals[both] @ case_matrix(case).T, straight.normals[both], atol=1e-4)


def test_a_wall_and_a_ridge_are_no_faces():
    mask = np.ones((40, 40), bool)
    wall = np.zeros((40, 40, 3))
    wall[..., 2] = 1
    with pytest.raises(InvalidDataError, match="azimuth stays ambiguous over 1 sessions"):
        rig.decide([rig.evidence(wall + 1e-3 * np.random.default_rng(0).standard_normal(wall.shape), mask)], "here")
    ridge = wall.copy()
    ridge[..., 0] = np.linspace(-0.5, 0.5, 40)  # convex across, flat along: up and down stay open
    with pytest.raises(InvalidDataError, match="Give the case by hand"):
        rig.decide([rig.evidence(ridge, mask)], "here")
    with pytest.raises(InvalidDataError, match="no face pixels"):
        rig.decide([rig.evidence(ridge, ~mask)], "here")


def test_sessions_that_disagree_are_refused_even_when_their_mean_is_clear():
    _, normals, mask = FACE
    straight, mirrored = rig.evidence(normals, mask), rig.evidence(normals * [-1, 1, 1], mask)
    assert rig.decide([straight] * 4 + [mirrored], "here").agreement == 0.8
    with pytest.raises(InvalidDataError, match="60 % of the sessions agree"):
        rig.decide([straight] * 3 + [mirrored] * 2, "here")


def test_normals_that_came_with_the_data_decide_before_the_prior():
    _, normals, mask = FACE
    rig_axes = normals @ case_matrix("-90")  # the inverse of what leads back
    decision = rig.decide_by_reference([rig.angles_to(normals, rig_axes, mask)], "here")
    assert (decision.case, decision.by) == ("-90", "sn.mat")
    half = np.sqrt(0.5)
    between = np.array([[half, -half, 0], [half, half, 0], [0, 0, 1]])  # a turn by 45 degrees: two cases are as close
    with pytest.raises(InvalidDataError, match="sn.mat fits no light azimuth"):
        rig.decide_by_reference([rig.angles_to(normals @ between, rig_axes, mask)], "here")


# -- light files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["4x2", "2x4", "4x3"])
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("case", ["+0", "-90"])
def test_light_files_in_all_variants(written, shape, case):
    lights = parse_lights(light_file(written, case, shape), "LightSource.m")
    np.testing.assert_allclose(lights.directions @ case_matrix(case).T, lit.directions(), atol=1e-5)
    assert lights.layout == ("directions" if shape == "4x3" else written)


@pytest.mark.parametrize(
    "text",
    [
        "38 45 36 135 40 225 37 315",
        "38 36 40 37 45 135 225 315",
        "38,45\n36,135\n40,225\n37,-45",
        "zenith = [38 36 40 37];\nazimuth = [45 135 225 315];",
        "L = [3.8e1, 45 ; 36, 135 ...\n ; 40, 225 ; 37, 315];  % 12 34",
        "[45 38; 135 36; 225 40; 315 37]",
    ],
)
def test_the_numbers_count_not_the_syntax(text):
    np.testing.assert_allclose(parse_lights(text, "x").directions, lit.directions(), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 numbers in 0 rows, expected 8"),
        ("[38 45; 36 135; 40 225]", "6 numbers in 3 rows"),
        ("[38 45; 36 135; 40 225; 37 315; 33 11]", "10 numbers in 5 rows"),
        ("[30 40; 31 41; 32 42; 33 43]", "no column is a zenith beside an azimuth"),
        ("[38 45; 36 135; 80 225; 37 315]", "no column is a zenith beside an azimuth"),
        ("[38 pi/4; 36 135; 40 225; 37 315]", "an expression where numbers are expected"),
        ("[38 45; 36 135;", "a bracket is never closed"),
        ("1 38 45; 2 36 135; 3 40 225; 4 37 315", "do not stand around the camera"),
        ("1 2 -3; 4 5 6; 7 8 9; 1 1 1", "third is not positive"),
        ("[0.9 45; 0.9 135; 0.9 225; 0.9 315]", "nearly lie in one plane"),
    ],
)
def test_a_malformed_light_file_is_refused_by_name(text, message):
    with pytest.raises(InvalidDataError, match=message) as caught:
        parse_lights(text, "1001/LightSource.m")
    assert str(caught.value).startswith("1001/LightSource.m: ")


# -- exposures ---------------------------------------------------------------------------------------------------------


def test_small_shifts_between_exposures_are_found_under_different_lights():
    true = np.array([[0, 0], [1.3, -2.2], [-0.7, 0.4], [3.1, 2.6]])
    taken = exposures(photographs(noise=1.0, specular=0.1))
    moved = [shifted(exposure, -shift) for exposure, shift in zip(taken, true, strict=True)]
    found, disagreement = shifts_between(moved, reach=12)
    np.testing.assert_allclose(found, true, atol=0.2)
    assert disagreement < 0.3
    aligned = np.stack([shifted(exposure, shift) for exposure, shift in zip(moved, found, strict=True)])
    straight = errors(photometric_stereo(aligned, lit.directions()))[0].mean()
    ignored = errors(photometric_stereo(np.stack(moved), lit.directions()))[0].mean()
    assert straight < 1.2
    assert ignored > 2 * straight


def test_pictures_of_different_things_disagree():
    rng = np.random.default_rng(0)
    _, disagreement = shifts_between([rng.uniform(0.2, 0.9, (120, 100)) for _ in range(4)], reach=12)
    assert disagreement > 1


def test_a_shift_is_found_and_undone_in_both_directions():
    image = np.random.default_rng(0).standard_normal((64, 48))
    moved = np.roll(image, (3, -2), (0, 1))
    np.testing.assert_allclose(shift_onto(image, moved, reach=6), [-3, 2], atol=0.05)
    np.testing.assert_array_equal(shifted(image.astype(np.float32), np.zeros(2)), image.astype(np.float32))
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    np.testing.assert_array_equal(shifted(grey, np.array([1.0, 0.0]))[1:], grey[:-1])


def test_linear_intensity_undoes_the_coding():
    image = np.full((2, 2, 3), 128, np.uint8)
    np.testing.assert_allclose(linear_intensity(image, 2.2), (128 / 255) ** 2.2, rtol=1e-6)
    np.testing.assert_allclose(linear_intensity(image[..., 0], 1.0), 128 / 255, rtol=1e-6)
