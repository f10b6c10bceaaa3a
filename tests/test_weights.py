"""Weights files: strict, self-describing, and never a way to run code."""

from __future__ import annotations

import os
import pickle
import re
import struct
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from fnbench.cli import main
from fnbench.errors import InvalidWeightsError, OutputError, UnknownNameError
from fnbench.models.crossmodal import ARCHITECTURE, CrossmodalEstimator, CrossModalNet
from fnbench.models.released import convert, converted, our_name
from fnbench.models.weights import (
    WeightsCard,
    build,
    load_strictly,
    read_checkpoint,
    read_weights,
    sha256_of,
    write_weights,
)
from tests.fakes.released_crossmodal import old_state_dict, released_network

IMAGES = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def release():
    """The released network with random weights."""
    return released_network()


@pytest.fixture(scope="module")
def old_file(release, tmp_path_factory) -> Path:
    """A file as PyTorch 0.3 under Python 2 wrote it on a GPU: legacy container, byte-string keys, CUDA storages."""
    path = tmp_path_factory.mktemp("release") / "model.pth"
    write_old_checkpoint(old_state_dict(release), path)
    return path


def write_old_checkpoint(state: dict[str, torch.Tensor], path: Path) -> None:
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(header, file, protocol=2)
        body, keys = [b"\x80\x02ccollections\nOrderedDict\n)R("], []
        storages: dict[int, str] = {}
        for name, tensor in state.items():
            key = storages.setdefault(tensor.data_ptr(), str(len(storages)))
            if key not in keys:
                keys.append(key)
            storage = b"(" + text(b"storage") + b"ctorch.cuda\nFloatStorage\n" + text(key.encode())
            storage += text(b"cuda:0") + number(tensor.numel()) + b"NtQ"
            shape = b"(" + b"".join(map(number, tensor.shape)) + b"t"
            stride = b"(" + b"".join(map(number, tensor.stride())) + b"t"
            body.append(
                text(name.encode()) + b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00" + shape + stride + b"tR"
            )
        file.write(b"".join(body) + b"u.")
        pickle.dump(keys, file, protocol=2)
        by_key = {storages[tensor.data_ptr()]: tensor for tensor in state.values()}
        for key in keys:
            file.write(struct.pack("<q", by_key[key].numel()) + by_key[key].contiguous().numpy().tobytes())


def text(value: bytes) -> bytes:
    """A Python 2 byte string, as pickle protocol 2 wrote it."""
    return b"U" + bytes([len(value)]) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def same_network(tensors, release) -> None:
    """Both modes answer the same before and after conversion."""
    network = CrossModalNet(normal_stem=any(name.startswith("normal_encoder.stem") for name in tensors))
    load_strictly(network, tensors, "converted")
    network.eval()
    with torch.inference_mode():
        normals, image = release(IMAGES, 0)
        renormals = release(IMAGES * 2 - 1, 1)
        ours = network(IMAGES, IMAGES * 2 - 1)
    torch.testing.assert_close(ours.normals, normals, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.images, image, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.renormals, renormals, rtol=0, atol=1e-6)


def test_the_fake_release_has_the_names_and_sizes_of_the_real_one(release):
    state, old = release.state_dict(), old_state_dict(release)

    assert (len(state), len(old)) == (404, 344)
    assert len([name for name in old if not name.startswith("base_model.")]) == 242
    assert sum(parameter.numel() for parameter in release.parameters()) == 35_780_654
    assert state["conv_up3.0.weight"].shape == (640, 768, 3, 3)


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("counters", [False, True])
def test_released_names_load_strictly(release, counters, prefix, dead):
    state = release.state_dict() if counters else old_state_dict(release)

    tensors = converted(
        stripped({prefix + name: value for name, value in state.items()}), "model.pth", normal_stem=dead
    )

    expected = CrossModalNet(normal_stem=dead).state_dict()
    assert {name: value.shape for name, value in tensors.items()} == {k: v.shape for k, v in expected.items()}
    assert len([name for name in tensors if "num_batches" not in name]) == (242 if dead else 238)
    assert tensors["image_encoder.bn1.num_batches_tracked"] == 0


def stripped(state):
    return {name.removeprefix("module."): value for name, value in state.items()}


def test_both_modes_answer_the_same_after_conversion(release):
    same_network(converted(release.state_dict(), "model.pth"), release)


def test_a_file_in_the_old_format_converts_from_the_command_line(release, old_file, tmp_path):
    out = tmp_path / "w.safetensors"

    result = CliRunner().invoke(main, ["convert-weights", "crossmodal", str(old_file), "--out", str(out)])

    assert result.exit_code == 0, result.output
    assert "CC BY-NC 4.0" in result.output
    read = read_weights(out, ARCHITECTURE)
    assert read.card.source_sha256 == sha256_of(old_file)
    assert read.card.licence == "CC BY-NC 4.0"
    same_network(read.tensors, release)


def test_the_estimator_takes_converted_weights_and_says_where_they_are_from(release, old_file, tmp_path):
    convert("crossmodal", old_file, tmp_path / "w.safetensors")
    estimator = CrossmodalEstimator(weights=tmp_path / "w.safetensors", device="cpu")
    images = IMAGES.permute(0, 2, 3, 1).contiguous().numpy()

    with torch.inference_mode():
        raw = release(IMAGES, 0)[0]
    expected = (raw / raw.norm(dim=1, keepdim=True)).permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.from_numpy(estimator.predict(images)), expected, rtol=0, atol=1e-5)
    assert estimator.provenance["weights_sha256"] == sha256_of(tmp_path / "w.safetensors")
    assert estimator.provenance["licence"] == "CC BY-NC 4.0"
    assert estimator.provenance["untrained"] is False


def test_a_pair_of_duplicates_that_differ_is_an_error(release):
    state = dict(release.state_dict())
    state["base_model.layer3.1.conv2.weight"] = state["base_model.layer3.1.conv2.weight"] + 1e-6

    with pytest.raises(
        InvalidWeightsError, match=r"layer3.1.conv2.weight and base_model.layer3.1.conv2.weight .* differ"
    ):
        converted(state, "model.pth")


def test_missing_unexpected_and_wrong_shapes_come_as_three_lists(release):
    state = dict(release.state_dict())
    del state["conv_last.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["layer0_1x1.0.weight"] = torch.zeros(64, 32, 1, 1)

    with pytest.raises(InvalidWeightsError) as error:
        converted(state, "model.pth")

    assert "1 missing: normal_decoder.head.bias" in str(error.value)
    assert "1 unexpected: extra.weight" in str(error.value)
    assert "1 wrong shape: skips.0.weight (64, 32, 1, 1) instead of (64, 64, 1, 1)" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_of_the_release_is_named():
    with pytest.raises(UnknownNameError, match="'conv_up4.0.weight' is no tensor"):
        our_name("conv_up4.0.weight")


class Runs:
    """A pickle that runs a command when it is opened."""

    def __reduce__(self):
        return os.system, ("touch /nonexistent/fnbench",)


def bad_checkpoints(folder: Path, whole: Path) -> dict[str, tuple[Path, str]]:
    bytes_of_whole = whole.read_bytes()
    modern = folder / "modern.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, modern)
    written = {
        "page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page, not weights"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        "empty": (b"", "an empty file"),
        "cut": (bytes_of_whole[: len(bytes_of_whole) // 2], "damaged or truncated checkpoint"),
        "cut-early": (bytes_of_whole[:20], "damaged or truncated checkpoint|refused: it is no tensor file"),
        "cut-zip": (modern.read_bytes()[:-80], "damaged or truncated checkpoint"),
        "noise": (b"\x00\x01\x02 not a checkpoint at all" * 9, "refused: it is no tensor file"),
        "code": (pickle.dumps({"weight": Runs()}, protocol=2), r"refused: it names \w+\.system, which is code"),
    }
    cases = {}
    for name, (content, message) in written.items():
        (folder / f"{name}.pth").write_bytes(content)
        cases[name] = (folder / f"{name}.pth", message)
    torch.save({"state": {"a": torch.zeros(1)}, "epoch": 3}, folder / "nested.pth")
    cases["nested"] = (folder / "nested.pth", "expected a bare state dict .* found a dictionary with state, epoch")
    torch.save({"backbone.weight": torch.zeros(1)}, folder / "other.pth")
    cases["other"] = (folder / "other.pth", "another architecture; none of its 1 names")
    torch.save({"weight": Runs()}, folder / "object.pth")
    cases["object"] = (folder / "object.pth", r"refused: it names \w+\.system, which is code")
    cases["absent"] = (folder / "absent.pth", "no such file")
    return cases


FILES = ["page", "pointer", "empty", "cut", "cut-early", "cut-zip", "noise", "code", "nested", "other"]
CASES = [*FILES, "object", "absent"]


@pytest.fixture(scope="module")
def bad(old_file, tmp_path_factory):
    return bad_checkpoints(tmp_path_factory.mktemp("bad"), old_file)


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_release_is_refused_in_one_line(case, bad, tmp_path):
    path, message = bad[case]

    result = CliRunner().invoke(main, ["convert-weights", "crossmodal", str(path), "--out", str(tmp_path / "w")])

    assert result.exit_code == 2
    assert re.search(message, result.output), result.output
    assert result.output.startswith(f"Error: {path}: ")
    assert len(result.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_model_has_no_conversion(tmp_path):
    with pytest.raises(UnknownNameError, match="No conversion for model 'frontal'"):
        convert("frontal", tmp_path / "a", tmp_path / "b")


def tiny(path: Path, **card) -> Path:
    network = CrossModalNet(2, image_decoder=False, normal_encoder=False)
    options = {"width": 2, "image_decoder": False, "normal_encoder": False}
    half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    write_weights(path, half, WeightsCard(**{"architecture": ARCHITECTURE, "options": options, "seed": 7, **card}))
    return path


def test_a_file_says_what_it_is_and_half_precision_comes_back_as_float(tmp_path):
    read = read_weights(tiny(tmp_path / "w.safetensors", preprocessing={"size": 64}), ARCHITECTURE)

    assert read.card.seed == 7
    assert read.card.options["width"] == 2
    assert read.tensors["normal_decoder.head.weight"].dtype == torch.float32
    assert build(CrossModalNet, read).normal_decoder.head.weight.shape == (3, 2, 1, 1)
    assert CrossmodalEstimator(weights=tmp_path / "w.safetensors").preprocessing.size == 64


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"architecture": "sfsnet"}, "weights of sfsnet, expected crossmodal"),
        ({"options": {"width": 3, "image_decoder": False, "normal_encoder": False}}, "wrong shape: .* instead of"),
        ({"options": {"width": 2}}, r"\d+ missing: image_decoder"),
        ({"options": {"breadth": 2}}, "do not fit crossmodal .*breadth.*newer version"),
        ({"frame": "x-right y-down z-forward"}, "frame 'x-right y-down z-forward', expected"),
        ({"version": "9"}, "card version 9, expected 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(card, message, tmp_path):
    with pytest.raises(InvalidWeightsError, match=message) as error:
        CrossmodalEstimator(weights=tiny(tmp_path / "w.safetensors", **card))
    assert "\n" not in str(error.value)


def test_damaged_and_foreign_weights_files_are_refused(tmp_path, bad):
    whole = tiny(tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-10])
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")

    with pytest.raises(InvalidWeightsError, match=r"cut.safetensors: damaged or truncated"):
        read_weights(tmp_path / "cut.safetensors")
    with pytest.raises(InvalidWeightsError, match="without a card"):
        read_weights(tmp_path / "foreign.safetensors")
    with pytest.raises(InvalidWeightsError, match=r"a torch checkpoint .* fnbench convert-weights"):
        read_weights(bad["other"][0])
    with pytest.raises(InvalidWeightsError, match="an HTML page"):
        read_weights(bad["page"][0])


def test_nothing_half_written_stays_behind(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError):
        tiny(tmp_path / "file" / "w.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_old_checkpoint_reads_byte_string_keys(old_file):
    assert all(type(name) is str for name in read_checkpoint(old_file))


def test_a_weights_file_can_be_read_by_whoever_may_read_the_folder(tmp_path):
    write_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, WeightsCard("toy", {}))
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
