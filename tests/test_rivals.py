"""The rivals of the cross-modal network: what they compute, how they are trained, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fnbench.adapters.ict import Ict
from fnbench.camera import Camera, look_at
from fnbench.errors import FnbenchError, InvalidSettingError, InvalidStoreError
from fnbench.metrics import angular_error
from fnbench.models import prn
from fnbench.models.layers import unit
from fnbench.models.load import load_estimator
from fnbench.models.prn import PrnEstimator, PrnNet, continued, mesh_normals, mesh_vertices, position_map, texels
from fnbench.models.sfsnet import SfsNet, SfsnetEstimator, shading
from fnbench.models.weights import WeightsCard, write_weights
from fnbench.render.groundtruth import render_dataset
from fnbench.render.light import harmonics
from fnbench.render.plan import Plan
from fnbench.store import Store, write_samples
from fnbench.training.augment import Placement, placed_images, still
from fnbench.training.data import Batch
from fnbench.training.kinds import KINDS
from fnbench.training.positions import Positions, placed_positions, projected_vertices, write_positions
from fnbench.training.recipe import read_recipe
from tests.spheres import ATTRIBUTES, sphere_samples


def seeded(make, seed: int = 0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def spheres(count: int, size: int = 32) -> Batch:
    samples = sphere_samples(count, split="train", size=size)
    images = np.stack([sample.image for sample in samples]).astype(np.float32) / 255
    normals = np.stack([sample.target.normals for sample in samples])
    mask = np.stack([sample.target.mask for sample in samples])[..., None].astype(np.float32)
    return Batch(*(torch.from_numpy(array).permute(0, 3, 1, 2).contiguous() for array in (images, normals, mask)))


def losses(model: str, network, batch: Batch) -> dict[str, torch.Tensor]:
    return KINDS[model].losses(network, batch, read_recipe(model))


def fitted(network, batch: Batch, objective: str, steps: int, rate: float) -> list[float]:
    optimiser = torch.optim.Adam(network.parameters(), rate)
    network.train()
    totals = []
    for _ in range(steps):
        total = sum(losses(objective, network, batch).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    return totals


def test_shading_is_that_of_the_renderers_harmonics_under_lambertian_attenuation():
    lambertian = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    ours = shading(torch.from_numpy(normals.T[None, :, :, None]).float(), torch.eye(27)[:9].sum(0)[None])[0, 0, :, 0]

    np.testing.assert_allclose(ours, harmonics(normals) @ lambertian, atol=1e-5)


def test_the_decomposition_multiplies_back_into_an_image():
    parts = seeded(lambda: SfsNet(4, 1)).eval()(torch.rand(2, 3, 32, 48))

    torch.testing.assert_close(parts.image, parts.albedo * shading(parts.normals, parts.light))
    torch.testing.assert_close(torch.linalg.vector_norm(parts.normals, dim=1), torch.ones(2, 32, 48))
    assert parts.light.shape == (2, 27)
    assert 0 <= parts.albedo.min() <= parts.albedo.max() <= 1


def test_the_first_light_is_white_and_comes_from_everywhere():
    parts = seeded(lambda: SfsNet(4, 1)).eval()(torch.zeros(1, 3, 32, 32))

    torch.testing.assert_close(parts.shading, torch.ones(1, 3, 32, 32), atol=0.2, rtol=0)


@pytest.mark.parametrize("halvings", [1, 2])
def test_sfsnet_predicts_the_normals_of_its_decomposition(halvings):
    network = seeded(lambda: SfsNet(4, 1, halvings)).eval()
    images = torch.rand(1, 3, 32, 32)

    torch.testing.assert_close(unit(network.image_to_normals(images)), network(images).normals)


def test_one_batch_can_be_overfitted_by_sfsnet():
    batch = spheres(2)
    network = seeded(lambda: SfsNet(8, 1))

    totals = fitted(network, batch, "sfsnet", 25, 1e-2)

    assert totals[-1] < 0.4 * totals[0]


def test_photographs_without_ground_truth_train_the_whole_decomposition():
    batch = spheres(2)
    network = seeded(lambda: SfsNet(4, 1))
    unpaired = Batch(batch.images, batch.normals, torch.zeros_like(batch.mask), unpaired=batch.images)

    sum(losses("sfsnet", network, unpaired).values()).backward()

    for part in (network.normal_head.out, network.albedo_head.out, network.light_out, network.features[0][0]):
        assert part.weight.grad.abs().sum() > 0


def test_sfsnet_losses_do_not_see_what_lies_outside_the_mask():
    batch = spheres(2)
    network = seeded(lambda: SfsNet(4, 1)).eval()
    outside = torch.where(batch.mask > 0, batch.normals, torch.full_like(batch.normals, 7.0))
    before = losses("sfsnet", network, batch)
    after = losses("sfsnet", network, Batch(batch.images, outside, batch.mask))

    assert all(torch.equal(before[name], after[name]) for name in before)


def test_impossible_settings_are_refused():
    with pytest.raises(InvalidSettingError, match="the paper has 64, 5 and 1"):
        SfsNet(64, 5, 3)
    with pytest.raises(InvalidSettingError, match="16 is the paper"):
        PrnNet(0)
    with pytest.raises(InvalidSettingError, match="Input of 64 x 64 pixels, expected 128"):
        PrnNet(1).eval()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("made", "network"), [(SfsnetEstimator, lambda: SfsNet(4, 1)), (PrnEstimator, lambda: PrnNet(1))]
)
def test_weights_come_back_from_their_file(tmp_path, made, network):
    built = seeded(network)
    options = {"width": 4, "blocks": 1} if made is SfsnetEstimator else {"width": 1}
    preprocessing = {"size": 128, "multiple": 128}
    name = made.__name__.removesuffix("Estimator").lower()
    card = WeightsCard(name, options, licence="MIT", training_data="none", preprocessing=preprocessing)
    write_weights(tmp_path / "w.safetensors", built.state_dict(), card)

    read = made(tmp_path / "w.safetensors", device="cpu")

    images = torch.rand(1, 3, 128, 128)
    expected = built.eval().image_to_normals(images) if made is SfsnetEstimator else built.eval()(images)
    torch.testing.assert_close(read.network(images), expected)
    assert read.provenance["licence"] == "MIT"
    assert not set(read.network.state_dict()) & {"mean_map", "corners"}, "the template is not stored with weights"


def test_a_model_without_weights_says_what_to_do(monkeypatch):
    monkeypatch.setattr("fnbench.models.weights.packaged_weights", lambda name: None)
    for made in (SfsnetEstimator, PrnEstimator):
        with pytest.raises(FnbenchError, match="no weights come with this version.*--untrained"):
            made()


@pytest.mark.parametrize("model", ["crossmodal", "sfsnet", "prn"])
def test_untrained_means_random_weights_whatever_there_is_and_no_file_beside_it(model, monkeypatch, tmp_path):
    monkeypatch.setattr("fnbench.models.weights.packaged_weights", lambda name: tmp_path / "there.safetensors")
    assert load_estimator(model, device="cpu", untrained=True).provenance["untrained"] is True
    with pytest.raises(InvalidSettingError, match=f"Model {model}: weights mine.safetensors and --untrained"):
        load_estimator(model, device="cpu", weights=Path("mine.safetensors"), untrained=True)


# --- prn: mesh and map


def test_the_template_is_closed_symmetric_and_faces_the_viewer():
    mesh = prn.template()

    np.testing.assert_array_equal(mesh.mirror[mesh.mirror], np.arange(len(mesh.mean)))
    np.testing.assert_allclose(mesh.mean[mesh.mirror] * [-1, 1, 1] + [1, 0, 0], mesh.mean, atol=2e-3)
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    normals = mesh_normals(mesh.mean * 64, mesh.faces, 64, 64)
    assert angular_error(normals[26:36, 30:34], np.array([0, 0, 1.0])).mean() < 40


def test_a_map_holds_the_mesh_to_a_fraction_of_a_pixel():
    mesh = prn.template()
    vertices = torch.from_numpy(mesh.mean)[None]

    back = mesh_vertices(position_map(vertices, texels(mesh, 128)), torch.from_numpy(mesh.uv))

    assert (back - vertices).abs().mean() * 128 < 0.25


def test_a_sphere_of_triangles_gives_the_normals_of_a_sphere():
    rows, columns = np.mgrid[0:33, 0:33]
    x, y = (columns - 16) / 16 * 0.7, (rows - 16) / 16 * 0.7
    z = np.sqrt(1 - x**2 - y**2)
    vertices = np.stack([32 + 30 * x, 24 + 30 * y, 30 * z], -1).reshape(-1, 3)
    quads = np.arange(33 * 33).reshape(33, 33)
    a, b, c, d = quads[:-1, :-1], quads[:-1, 1:], quads[1:, 1:], quads[1:, :-1]
    faces = np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])

    normals = mesh_normals(vertices, faces.astype(np.int32), 48, 64)

    v, u = np.mgrid[0:48, 0:64] + 0.5
    nx, ny = (u - 32) / 30, -(v - 24) / 30
    inside = (np.abs(nx) < 0.65) & (np.abs(ny) < 0.65)
    truth = np.stack([nx, ny, np.sqrt(np.clip(1 - nx**2 - ny**2, 0, None))], -1)
    assert angular_error(normals, truth)[inside].max() < 1.5
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)


def test_outside_the_mesh_its_border_is_continued():
    normals, mask = np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), bool)
    normals[:, :2], mask[:, :2] = [-0.6, 0, 0.8], True

    np.testing.assert_allclose(continued(normals, mask), np.broadcast_to([-0.6, 0, 0.8], (8, 8, 3)), atol=1e-6)
    np.testing.assert_array_equal(continued(normals * 0, mask & False)[3, 3], [0, 0, 1])


def test_a_position_is_a_pixel_and_its_depth_keeps_the_scale():
    camera = Camera(np.array([[300.0, 0, 50], [0, 300, 40], [0, 0, 1]]), look_at(np.zeros(3), 1000.0), 100, 80)
    points = np.array([[0, 0, 0.0], [10, 0, 0], [0, 10, 0], [0, 0, 1], [0, 0, -1]])

    placed = projected_vertices(points, camera) * 100

    np.testing.assert_allclose(placed[:, :2], camera.project(points)[0], atol=1e-9)
    assert placed[1, 0] - placed[0, 0] == pytest.approx(3)
    assert placed[3, 2] - placed[4, 2] == pytest.approx(0.6, rel=1e-5)  # 2 mm at 0.3 pixels per mm, nearer is greater


@pytest.mark.parametrize("mirrored", [False, True])
def test_positions_move_with_the_picture(mirrored):
    """A white dot drawn where a vertex lies is where the vertex lies after the augmentation."""
    place = Placement(
        torch.tensor([[30.0, 36.0]]), torch.tensor([40.0]), torch.tensor([25.0]), torch.tensor([mirrored])
    )
    where = torch.tensor([[[35.0, 30.0, 4.0]]]) / 64
    picture = torch.zeros(1, 1, 64, 64)
    picture[0, 0, 29:31, 34:36] = 1  # centred on x 35, y 30

    moved = placed_positions(where, place, 64, torch.tensor([0]))[0, 0]
    drawn = placed_images(picture, place, 80)[0, 0]

    rows, columns = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    centre = torch.stack([(drawn * columns).sum(), (drawn * rows).sum()]) / drawn.sum()
    torch.testing.assert_close(moved[:2] * 80, centre, atol=0.05, rtol=0)
    assert moved[2] == pytest.approx(4 / 40)


def test_a_mirrored_face_has_its_left_on_the_other_side():
    mesh = prn.template()
    place = still(torch.tensor([[0.0, 0.0, 64.0]]))
    mirrored = Placement(place.centre, place.side, place.degrees, torch.tensor([True]))

    moved = placed_positions(torch.from_numpy(mesh.mean)[None], mirrored, 64, torch.from_numpy(mesh.mirror))[0]

    np.testing.assert_allclose(moved, mesh.mean, atol=2e-3)  # the mean face is symmetric


def test_one_batch_can_be_overfitted_by_prn():
    mesh = prn.template()
    turned = mesh.mean.copy()
    turned[:, 0] = 0.5 + 0.8 * (mesh.mean[:, 0] - 0.5) + 0.3 * mesh.mean[:, 2]
    positions = torch.from_numpy(np.stack([mesh.mean, turned]))
    shown = [torch.from_numpy(mesh_normals(p.numpy() * 128, mesh.faces, 128, 128)) for p in positions]
    images = (torch.stack(shown).permute(0, 3, 1, 2) + 1) / 2  # channels last, as loaders make them
    batch = Batch(images, torch.zeros(2, 3, 1, 1), torch.zeros(2, 1, 1, 1), positions=positions)

    totals = fitted(seeded(lambda: PrnNet(2)), batch, "prn", 15, 2e-2)

    assert totals[-1] < 0.6 * totals[0]
    with pytest.raises(ValueError, match="this batch has none"):
        losses("prn", PrnNet(1), spheres(1))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, shared_data):
    data = tmp_path_factory.mktemp("ict") / "heads.h5"
    plan = Plan(views=((30, 10),), size=96)
    render_dataset(
        Ict(shared_data / "ict_facekit", heads=1, expressions=0),
        data,
        plan,
        options={"heads": 1, "expressions": 0},
        limit=1,
    )
    return data


def test_positions_of_a_rendered_file_are_its_meshes(rendered, shared_data, tmp_path):
    mesh, out = prn.template(), tmp_path / "positions.h5"

    assert write_positions(rendered, shared_data / "ict_facekit", mesh, out) == 1

    store = Store(rendered)
    positions, target = Positions(out, store)[0], store.target(0)
    error = angular_error(mesh_normals(positions * 96, mesh.faces, 96, 96), target.normals)[target.mask]
    assert np.median(error) < 1.5
    assert np.mean(error) < 5


def test_positions_belong_to_one_file(rendered, shared_data, tmp_path):
    out, other = tmp_path / "positions.h5", tmp_path / "other.h5"
    write_positions(rendered, shared_data / "ict_facekit", prn.template(), out)
    write_samples(other, sphere_samples(1, split="train"), ATTRIBUTES)
    with pytest.raises(InvalidStoreError, match="positions of another file"):
        Positions(out, Store(other))
    with pytest.raises(InvalidStoreError, match="no position file"):
        Positions(rendered, Store(rendered))
