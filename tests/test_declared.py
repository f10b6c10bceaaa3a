"""Networks in files: declared, read, exported, and refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fnbench.cli import main
from fnbench.errors import FnbenchError, InvalidSettingError, InvalidWeightsError
from fnbench.frames import from_canonical
from fnbench.models.crossmodal import CrossModalNet
from fnbench.models.declared import known_networks, read_declaration
from fnbench.models.load import load_estimator
from fnbench.models.sfsnet import SfsNet
from fnbench.models.weights import WeightsCard, write_weights

IMAGES = np.random.default_rng(0).random((2, 40, 56, 3)).astype(np.float32)


class Scene(torch.nn.Module):
    """What a third party's network might do: normalised colours as vectors, plus a lean towards the viewer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        lean = torch.tensor([0.0, 0.0, 2.0]).reshape(1, 3, 1, 1)
        return images + lean


def onnx_file(path, network, shape=(1, 3, 32, 32), dynamic: bool = True) -> None:
    pytest.importorskip("onnx")
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("x", "y")} if dynamic else None
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(shape),), str(path), input_names=["x"], output_names=["y"], dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )  # fmt: skip


def declaration(path, **tables: str):
    text = 'name = "scene"\nlicence = "MIT"\ntraining_data = "none"\n' + "\n".join(
        line
        for table in ("top", "input", "output")
        for line in ([] if table == "top" else [f"[{table}]"]) + [tables.get(table, "")]
    )
    path.write_text(text)
    return path


def expected(images: np.ndarray) -> np.ndarray:
    raw = images + [0, 0, 2]
    return raw / np.linalg.norm(raw, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "scene.onnx"
    onnx_file(path, Scene().eval())
    return path


def test_a_declared_network_predicts_what_it_says(scene):
    toml = declaration(scene.with_suffix(".toml"), top='file = "scene.onnx"')

    model = load_estimator(f"onnx:{toml}")

    np.testing.assert_allclose(model.predict(IMAGES), expected(IMAGES), atol=1e-6)
    assert model.predict(IMAGES[:0]).shape == (0, 40, 56, 3)
    assert model.provenance["licence"] == "MIT"
    assert len(model.provenance["weights_sha256"]) == 64


def test_order_scale_mean_and_deviation_are_applied_as_declared(scene, tmp_path):
    toml = declaration(
        tmp_path / "net.toml", input='order = "BGR"\nscale = 255.0\nmean = [10.0, 20.0, 30.0]\nstd = [2.0, 4.0, 8.0]'
    )

    normals = load_estimator(f"onnx:{toml}", weights=scene).predict(IMAGES)

    np.testing.assert_allclose(normals, expected((IMAGES[..., ::-1] * 255 - [10, 20, 30]) / [2, 4, 8]), atol=1e-5)


@pytest.mark.parametrize("frame", ["opencv", "dsine", "sfsnet"])
def test_the_declared_frame_is_turned_into_ours(scene, tmp_path, frame):
    toml = declaration(tmp_path / "net.toml", output=f'frame = "{frame}"')

    normals = load_estimator(f"onnx:{toml}", weights=scene).predict(IMAGES)

    np.testing.assert_allclose(from_canonical(normals, frame), expected(IMAGES), atol=1e-5)


def test_numbers_between_0_and_1_are_vectors_between_minus_1_and_1(scene, tmp_path):
    toml = declaration(tmp_path / "net.toml", output='encoding = "unit-interval"')
    raw = 2 * (IMAGES + [0, 0, 2]) - 1

    normals = load_estimator(f"onnx:{toml}", weights=scene).predict(IMAGES)

    np.testing.assert_allclose(normals, raw / np.linalg.norm(raw, axis=-1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("size", ["64", "[48, 32]"])
def test_other_sizes_come_back_in_the_size_of_the_image(scene, tmp_path, size):
    toml = declaration(tmp_path / "net.toml", input=f"size = {size}\nmultiple = 16")
    flat = np.full((1, 40, 56, 3), 0.25, np.float32)

    np.testing.assert_allclose(load_estimator(f"onnx:{toml}", weights=scene).predict(flat), expected(flat), atol=1e-5)


def test_a_network_for_one_image_is_run_image_by_image(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "one.onnx", Scene().eval(), (1, 3, 40, 56), dynamic=False)
    toml = declaration(tmp_path / "net.toml", top='file = "one.onnx"')

    np.testing.assert_allclose(load_estimator(f"onnx:{toml}").predict(IMAGES), expected(IMAGES), atol=1e-6)


def test_torchscript_is_read_too(tmp_path):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Scene()), str(tmp_path / "scene.pt2"))
        toml = declaration(tmp_path / "net.toml", top='file = "scene.pt2"')
        model = load_estimator(f"onnx:{toml}", device="cpu")

    np.testing.assert_allclose(model.predict(IMAGES), expected(IMAGES), atol=1e-6)


def test_position_maps_of_the_release_become_normals(tmp_path):
    """A map that shows a slanted plane, in shares of 1.1 sides."""
    pytest.importorskip("onnxruntime")
    v, u = torch.meshgrid(torch.linspace(0, 1, 8), torch.linspace(0, 1, 8), indexing="ij")
    plane = torch.stack([u, v, 0.5 * u], -1)[None] / 1.1

    class Positions(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return plane + 0 * x.mean((1, 2, 3), keepdim=True)

    onnx_file(tmp_path / "prnet.onnx", Positions().eval())
    quads = np.arange(64).reshape(8, 8)
    a, b, c, d = quads[:-1, :-1].ravel(), quads[:-1, 1:].ravel(), quads[1:, 1:].ravel(), quads[1:, :-1].ravel()
    np.savetxt(tmp_path / "face_ind.txt", np.arange(64))
    np.savetxt(tmp_path / "triangles.txt", np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]))
    toml = declaration(
        tmp_path / "net.toml",
        top='file = "prnet.onnx"',
        output='encoding = "prnet-positions"\nlayout = "NHWC"\n'
        'face_index = "face_ind.txt"\ntriangles = "triangles.txt"',
    )

    normals = load_estimator(f"onnx:{toml}").predict(np.zeros((1, 32, 32, 3), np.float32))

    np.testing.assert_allclose(normals[0, 16, 16], np.array([-0.5, 0, 1]) / np.sqrt(1.25), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "n"\nfrane = "x"', "unknown key 'frane'"),
        ('name = "n"\n[input]\nmaen = [1.0]', r"\[input\]: unknown key 'maen'. Did you mean mean"),
        ('name = "n"\n[input]\norder = "GBR"', "expected RGB or BGR"),
        ('name = "n"\n[output]\nencoding = "png"', "expected vectors, unit-interval"),
        ("licence = 'x'", "'name' is missing"),
        ("name = ", "not a readable TOML"),
    ],
)
def test_a_declaration_is_checked(tmp_path, text, message):
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(InvalidSettingError, match=message):
        read_declaration(tmp_path / "net.toml")


def test_files_that_are_no_networks_are_refused(scene, tmp_path):
    toml = declaration(tmp_path / "net.toml", output='name = "z"')
    with pytest.raises(InvalidWeightsError, match="outputs y; .* names x and z"):
        load_estimator(f"onnx:{toml}", weights=scene)
    for name, content, message in (
        ("page.onnx", b"<!DOCTYPE html>", "an HTML page"),
        ("cut.onnx", scene.read_bytes()[:40], "not a readable ONNX network"),
        ("weights.pt", b"PK\x03\x04 nothing", "not a TorchScript network"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidWeightsError, match=message):
            load_estimator(f"onnx:{toml}", weights=tmp_path / name)


@pytest.mark.parametrize("name", ["david", "sapiens", "dsine", "omnidata", "metric3d"])
def test_known_networks_are_declared_and_need_a_file(name):
    assert name in known_networks()
    with pytest.raises(InvalidSettingError, match=f"Model {name}: fnbench ships no weights.*--weights FILE"):
        load_estimator(f"external:{name}")


def test_an_unknown_network_is_named_with_the_nearest():
    with pytest.raises(FnbenchError, match="No external network 'davdi'. Did you mean david"):
        load_estimator("external:davdi")


@pytest.mark.parametrize(
    ("model", "made", "options", "preprocessing"),
    [
        ("crossmodal", CrossModalNet, {"width": 2, "image_decoder": False, "normal_encoder": False}, {}),
        (
            "crossmodal",
            CrossModalNet,
            {"width": 2, "image_decoder": False, "normal_encoder": False},
            {"mirrored": True, "scales": [1.0, 0.75]},
        ),
        ("sfsnet", SfsNet, {"width": 2}, {"size": 128}),
    ],
)
def test_an_exported_model_reads_back_within_a_ten_thousandth(tmp_path, model, made, options, preprocessing):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(3)
    card = WeightsCard(model, options, licence="MIT", preprocessing=preprocessing)
    write_weights(tmp_path / "w.safetensors", made(**options).state_dict(), card)
    out = tmp_path / "net.onnx"

    done = CliRunner().invoke(
        main, ["export-model", model, "--weights", str(tmp_path / "w.safetensors"), "--out", str(out)]
    )

    assert done.exit_code == 0, done.output
    ours = load_estimator(model, weights=tmp_path / "w.safetensors", device="cpu")
    theirs = load_estimator(f"onnx:{out.with_suffix('.toml')}")
    for shape in ((2, 40, 56, 3), (1, 96, 64, 3)):
        images = np.random.default_rng(1).random(shape).astype(np.float32)
        np.testing.assert_allclose(theirs.predict(images), ours.predict(images), atol=1e-4)
    assert theirs.provenance["licence"] == "MIT"


def test_what_is_no_network_per_pixel_is_not_exported(tmp_path):
    done = CliRunner().invoke(main, ["export-model", "frontal", "--out", str(tmp_path / "x.onnx")])

    assert done.exit_code == 2
    assert "frontal cannot be exported" in done.output
    assert not list(tmp_path.iterdir())
