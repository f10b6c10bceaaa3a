"""Cross-modal face normals with deactivable skip connections.

V. Fernandez Abrevaya, A. Boukhayma, P. H. S. Torr, E. Boyer, "Cross-Modal Deep Face Normals With Deactivable
Skip Connections", CVPR 2020. An independent implementation of the released architecture:

    image  --> image encoder  --+--> latent --> normal decoder --> normals    (skips active)
                                +--> latent --> image decoder  --> image      (there are no skips)
    normals -> normal encoder ----> latent --> normal decoder --> normals    (skips deactivated)

A skip is merged by an element-wise maximum into the last channels of the decoder tensor, which come out of a ReLU
and are never negative; leaving a skip out is therefore the same as merging zeros, and one set of decoder
weights serves both inputs.

What differs from the release: the ImageNet classifier and the second copy of the image encoder that the
release stores are not built; ``width`` scales all channels (64 is the release); the normal encoder's unused
full-resolution stem is built only on request; sides that are no multiple of 32 are refused in both modes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from fnbench.errors import InvalidSettingError
from fnbench.models.layers import ConvReLU, doubled, merged, residual_stage
from fnbench.models.torch_estimator import Preprocessing, TorchEstimator
from fnbench.models.weights import ready

ARCHITECTURE = "crossmodal"
REDUCTION = 32
"""The latent is this many times smaller than the input; sides must be multiples of it."""

Skips = Literal["deactivable", "ordinary", "none"]


class Outputs(NamedTuple):
    """What the three paths return; None where a path was not taken.

    normals: (N, 3, H, W) raw vectors from images, not unit length.
    images: (N, 3, H, W) reconstructed images, not clamped.
    renormals: (M, 3, H, W) raw vectors from normal maps.
    """

    normals: Tensor | None
    images: Tensor | None
    renormals: Tensor | None


class Encoder(nn.Module):
    """ResNet-18 stages, and a stem at full resolution beside them that is not part of ResNet."""

    def __init__(self, width: int, *, stem: bool) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(ConvReLU(3, w), ConvReLU(w, w)) if stem else None
        self.conv1 = nn.Conv2d(3, w, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stage1 = residual_stage(w, w, 1)
        self.stage2 = residual_stage(w, 2 * w, 2)
        self.stage3 = residual_stage(2 * w, 4 * w, 2)
        self.stage4 = residual_stage(4 * w, 8 * w, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to the latent and the features before it, deepest first."""
        layer0 = torch.relu(self.bn1(self.conv1(x)))  # (N, w, H/2, W/2)
        layer1 = self.stage1(self.pool(layer0))  # (N, w, H/4, W/4)
        layer2 = self.stage2(layer1)  # (N, 2w, H/8, W/8)
        layer3 = self.stage3(layer2)  # (N, 4w, H/16, W/16)
        latent = self.stage4(layer3)  # (N, 8w, H/32, W/32)
        return [latent, layer3, layer2, layer1, layer0]

    def full_resolution(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the (N, w, H, W) feature of the stem."""
        if self.stem is None:
            raise ValueError("this encoder was built without a stem")
        feature: Tensor = self.stem(x)
        return feature


class NormalDecoder(nn.Module):
    """At every level the tensor is [main | extra]; a skip may be merged into the extra channels."""

    def __init__(self, width: int, *, skips: Skips) -> None:
        super().__init__()
        w = width
        self.ordinary = skips == "ordinary"
        main, extra = (8 * w, 8 * w, 4 * w, 4 * w, 2 * w), (4 * w, 2 * w, w, w, w)
        whole = [a + b for a, b in zip(main, extra, strict=True)]
        # Concatenation fills the extra channels from the encoder, so the decoder itself makes only the main ones.
        made = list(main) if self.ordinary else whole
        self.project = ConvReLU(8 * w, made[0], 1)
        self.up = nn.ModuleList(ConvReLU(a, b) for a, b in zip(whole[:-1], made[1:], strict=True))
        self.out = ConvReLU(whole[-1], w)
        self.head = nn.Conv2d(w, 3, 1)

    def forward(self, latent: Tensor, skips: list[Tensor] | None = None) -> Tensor:
        """(N, 8w, H/32, W/32) and up to five skips, deepest first, to (N, 3, H, W) raw vectors."""
        x = self._merged(doubled(self.project(latent)), skips, 0)  # (N, 12w, H/16, W/16)
        for level, up in enumerate(self.up, start=1):  # 10w at H/8, 5w at H/4, 5w at H/2, 3w at H
            x = self._merged(doubled(up(x)), skips, level)
        vectors: Tensor = self.head(self.out(x))
        return vectors

    def _merged(self, x: Tensor, skips: list[Tensor] | None, level: int) -> Tensor:
        if skips is None:
            return x
        if self.ordinary:
            return torch.cat([x, skips[level]], 1)
        return merged(x, skips[level])


class ImageDecoder(nn.Module):
    """Reconstructs the image from the latent alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.up = nn.ModuleList([ConvReLU(8 * w, 8 * w), ConvReLU(8 * w, 4 * w)])
        self.up.extend([ConvReLU(4 * w, 4 * w), ConvReLU(4 * w, 2 * w)])
        self.out = ConvReLU(2 * w, w)
        self.head = nn.Conv2d(w, 3, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, 8w, H/32, W/32) to (N, 3, H, W), not clamped."""
        x = latent
        for up in (*self.up, self.out):
            x = up(doubled(x))
        image: Tensor = self.head(x)
        return image


class CrossModalNet(nn.Module):
    """The network. Plain keyword arguments are its whole configuration; they are stored with the weights.

    width: channels of the first stage; 64 is the released network (35.3 million parameters).
    skips: "deactivable" (the paper), "ordinary" (always concatenated, both inputs), or "none".
    image_decoder, normal_encoder: the two auto-encoding branches; neither is needed for image to normal.
    normal_stem: build the normal encoder's full-resolution stem although nothing reads it, as the release does.
    """

    def __init__(
        self,
        width: int = 64,
        *,
        skips: Skips = "deactivable",
        image_decoder: bool = True,
        normal_encoder: bool = True,
        normal_stem: bool = False,
    ) -> None:
        super().__init__()
        if skips not in ("deactivable", "ordinary", "none"):
            raise InvalidSettingError(f"Skips {skips!r} are not known; choose deactivable, ordinary or none.")
        if width < 1:
            raise InvalidSettingError(f"Width {width} is impossible; 64 is the released network.")
        w = width
        adapted = () if skips == "none" else (w, w, 2 * w, 4 * w)
        self.image_encoder = Encoder(w, stem=skips != "none")
        self.normal_encoder = Encoder(w, stem=normal_stem or skips == "ordinary") if normal_encoder else None
        self.skips = nn.ModuleList(ConvReLU(channels, channels, 1) for channels in adapted)
        self.normal_decoder = NormalDecoder(w, skips=skips)
        self.image_decoder = ImageDecoder(w) if image_decoder else None

    def forward(
        self,
        images: Tensor | None = None,
        normals: Tensor | None = None,
        keep: Tensor | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
    ) -> Outputs:
        """All paths that this network has for the inputs that are given, in one pass.

        images: (N, 3, H, W) in [0, 1].  normals: (M, 3, H, W) unit vectors, zero where unknown.
        keep: (N,) or (N, 5) bool; False drops an image's skips, all or per level (deepest first).
        first: only the first so many images are turned into normals; those after them are for the other path.
        last: only the last so many images are reconstructed.
        """
        predicted = rebuilt = renormals = None
        if images is not None:
            features = self._encoded(self.image_encoder, images)
            used = [feature[:first] for feature in features]
            if first != 0:
                predicted = self.normal_decoder(used[0], self._skips(self.image_encoder, images[:first], used, keep))
            if self.image_decoder is not None and last != 0:
                rebuilt = self.image_decoder(features[0] if last is None else features[0][-last:])
        if normals is not None and self.normal_encoder is not None:
            features = self._encoded(self.normal_encoder, normals)
            ordinary = self.normal_decoder.ordinary
            skips = self._skips(self.normal_encoder, normals, features) if ordinary else None
            renormals = self.normal_decoder(features[0], skips)
        return Outputs(predicted, rebuilt, renormals)

    def image_to_normals(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) images in [0, 1] to (N, 3, H, W) raw vectors; the main task."""
        features = self._encoded(self.image_encoder, images)
        vectors: Tensor = self.normal_decoder(features[0], self._skips(self.image_encoder, images, features, keep))
        return vectors

    def _encoded(self, encoder: Encoder, x: Tensor) -> list[Tensor]:
        height, width = x.shape[-2:]
        if height % REDUCTION or width % REDUCTION or not height or not width:
            # The normal path would round up and answer in another size without a word.
            raise InvalidSettingError(
                f"Input of {height} x {width} pixels: both sides must be multiples of {REDUCTION}."
            )
        features: list[Tensor] = encoder(x)
        return features

    def _skips(
        self, encoder: Encoder, x: Tensor, features: list[Tensor], keep: Tensor | None = None
    ) -> list[Tensor] | None:
        if not len(self.skips):
            return None
        adapted = [adapter(feature) for adapter, feature in zip(reversed(self.skips), features[1:], strict=True)]
        adapted.append(encoder.full_resolution(x))
        if keep is None:
            return adapted
        kept = keep.to(x.dtype).reshape(len(x), -1).expand(-1, len(adapted))
        return [skip * kept[:, level, None, None, None] for level, skip in enumerate(adapted)]


class _ImageToNormals(nn.Module):
    """The part of the network that prediction needs, as image -> vectors."""

    def __init__(self, network: CrossModalNet) -> None:
        super().__init__()
        network.image_decoder = network.normal_encoder = None
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W)."""
        return self.network.image_to_normals(images)


class CrossmodalEstimator(TorchEstimator):
    """Image to normals with the cross-modal network.

    weights: a safetensors file of ``fnbench train`` or ``fnbench convert-weights``; the packaged one by default.
    device: "cpu", "cuda", ...; chosen when None.
    untrained: random weights (seed 0) of this width, whatever there is; for plumbing, not for results.
    width: of a network with random weights; others say their own.
    """

    def __init__(
        self, weights: Path | None = None, device: str | None = None, untrained: bool = False, width: int = 64
    ) -> None:
        random = {"width": width, "image_decoder": False, "normal_encoder": False}
        made = ready(ARCHITECTURE, CrossModalNet, weights, untrained, **random)
        super().__init__(
            ARCHITECTURE,
            _ImageToNormals(cast(CrossModalNet, made.network)),
            preprocessing=Preprocessing(**made.preprocessing),
            device=device,
            provenance=made.provenance,
        )
