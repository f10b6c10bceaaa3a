"""The authors' released cross-modal weights: their names, and the conversion to ours.

The release (boukhayma/face_normals, licence CC BY-NC 4.0) is a bare state dict. It stores the image encoder
twice, the second time under ``base_model`` with an ImageNet classifier, and a stem of the normal encoder that
nothing reads. Beware of the suffix ``_2``: on ``layerN_2`` and ``conv_original_size{0,1}_2`` it means the normal
encoder, on ``conv_up*_2``, ``conv_original_size2_2`` and ``conv_last_2`` the image decoder. fnbench ships neither
the original nor converted weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from fnbench.errors import InvalidWeightsError, UnknownNameError
from fnbench.models.crossmodal import ARCHITECTURE, CrossModalNet
from fnbench.models.weights import WeightsCard, check_names, read_checkpoint, sha256_of, write_weights

LICENCE = "CC BY-NC 4.0"
CONVERSION = "released-names/1"

_RELEASED = (
    (r"layer0(_2)?\.0\.", r"encoder.conv1."),
    (r"layer0(_2)?\.1\.", r"encoder.bn1."),
    (r"layer1(_2)?\.1\.", r"encoder.stage1."),
    (r"layer([234])(_2)?\.", r"encoder.stage\1."),
    (r"conv_original_size([01])(_2)?\.0\.", r"encoder.stem.\1."),
    (r"layer4_1x1\.0\.", r"normal_decoder.project."),
    (r"layer([0123])_1x1\.0\.", r"skips.\1."),
    (r"conv_up([0123])(_2)?\.0\.", r"decoder.up.\1."),
    (r"conv_original_size2(_2)?\.0\.", r"decoder.out."),
    (r"conv_last(_2)?\.", r"decoder.head."),
)
_BASE = {"layer0.0.": "conv1.", "layer0.1.": "bn1.", "layer1.1.": "layer1."}
_BASE |= {name: name for name in ("layer2.", "layer3.", "layer4.")}


def our_name(released: str) -> str:
    """Our name of a released tensor that is not under ``base_model``; UnknownNameError when there is none.

    >>> our_name("layer2_2.0.downsample.0.weight"), our_name("conv_up3_2.0.bias")
    ('normal_encoder.stage2.0.downsample.0.weight', 'image_decoder.up.0.bias')
    """
    for pattern, template in _RELEASED:
        found = re.match(pattern, released)
        if found is None:
            continue
        name = found.expand(template)
        if name.startswith("decoder.up."):  # released from coarse 3 to fine 0, ours counts along the decoder
            name = f"decoder.up.{3 - int(found[1])}."
        second = "_2" in found[0]
        if name.startswith("encoder."):
            name = ("normal_" if second else "image_") + name
        elif name.startswith("decoder."):
            name = ("image_" if second else "normal_") + name
        return name + released[found.end() :]
    raise UnknownNameError(f"{released!r} is no tensor of the released cross-modal network.")


def converted(released: Mapping[str, Tensor], source: str, *, normal_stem: bool = False) -> dict[str, Tensor]:
    """The released state dict under our names.

    normal_stem: keep the dead stem of the normal encoder, for a lossless round trip.
    Raises InvalidWeightsError: other architecture, other shapes, or a pair of duplicates that differ.
    """
    _refuse_differing_duplicates(released, source)
    ours, unknown = {}, []
    for name, tensor in released.items():
        if name.startswith("base_model."):
            continue
        try:
            ours[our_name(name)] = tensor
        except UnknownNameError:
            unknown.append(name)
    if len(unknown) == len(released) or not ours:
        raise InvalidWeightsError(
            f"{source}: another architecture; none of its {len(released)} names belongs to the released cross-modal "
            f"network (first: {next(iter(released))})."
        )
    if not normal_stem:
        ours = {name: tensor for name, tensor in ours.items() if not name.startswith("normal_encoder.stem.")}
    with torch.device("meta"):
        expected = CrossModalNet(normal_stem=normal_stem).state_dict()
    for name in expected:
        if name.endswith("num_batches_tracked"):  # PyTorch 0.3 had no such counter
            ours.setdefault(name, torch.zeros((), dtype=torch.int64))
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    check_names(shapes, {**ours, **{name: released[name] for name in unknown}}, source)
    return ours


def convert_crossmodal(source: Path, out: Path, *, normal_stem: bool = False) -> WeightsCard:
    """Convert the authors' ``model.pth`` into a weights file of fnbench. Returns its card.

    Raises InvalidWeightsError with one clear line for anything that is not that file; OutputError.
    """
    tensors = converted(read_checkpoint(source), str(source), normal_stem=normal_stem)
    card = WeightsCard(
        ARCHITECTURE,
        {"width": 64, "normal_stem": normal_stem},
        licence=LICENCE,
        training_data="unknown: the release does not say",
        recipe=CONVERSION,
        source_sha256=sha256_of(source),
        preprocessing={"size": None, "multiple": 32},
    )
    write_weights(out, tensors, card)
    return card


CONVERTERS: dict[str, Callable[..., WeightsCard]] = {"crossmodal": convert_crossmodal}
"""Model id -> conversion of its released weights."""


def convert(model: str, source: Path, out: Path, *, dead_weights: bool = False) -> WeightsCard:
    """Convert the released weights of a model. UnknownNameError when fnbench knows no release of it."""
    if model not in CONVERTERS:
        raise UnknownNameError(f"No conversion for model {model!r}. Known: {', '.join(CONVERTERS)}.")
    return CONVERTERS[model](source, out, normal_stem=dead_weights)


def _refuse_differing_duplicates(released: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in released.items():
        for start, base in _BASE.items():
            twin = f"base_model.{base}{name.removeprefix(start)}"
            if name.startswith(start) and twin in released and not torch.equal(tensor, released[twin]):
                raise InvalidWeightsError(f"{source}: {name} and {twin} should be one tensor but differ.")
