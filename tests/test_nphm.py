"""NPHM: the similarity gives the true size, its absence FLAME's, and both keep the frontal axes."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import nphm as fake

from fnbench.adapters.nphm import Nphm


@pytest.mark.parametrize(("capture", "size", "scale"), [("017/000", "measured", 1.0), ("231/000", "flame", 250 / 245)])
def test_size_and_axes(tmp_path, capture, size, scale):
    fake.write(tmp_path)
    loaded = Nphm(tmp_path).load(capture)
    assert loaded.attributes["size"] == size
    assert loaded.subject == capture[:3]
    np.testing.assert_allclose(np.ptp(loaded.scan.vertices[:, 1]), 200 * scale, rtol=1e-4)
    np.testing.assert_allclose(loaded.scan.vertices[loaded.scan.vertices[:, 2].argmax(), :2], 0, atol=8)
