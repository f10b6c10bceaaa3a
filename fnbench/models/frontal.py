"""The floor of every table: a constant normal towards the viewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Frontal:
    """Predicts (0, 0, 1) everywhere. A model that does not beat it has learned nothing."""

    name = "frontal"
    provenance: Mapping[str, Any] = {"licence": "MIT", "training_data": "none", "untrained": False}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, H, W, 3) float32 normals, all (0, 0, 1)."""
        return np.broadcast_to(np.array([0, 0, 1], np.float32), images.shape).copy()
