"""Fixtures that every part shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fnbench", deadline=None)  # a busy machine is no failure
settings.load_profile("fnbench")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Openly licensed scans and networks that live beside the project; see their README."""
    folder = Path(os.environ.get("FNBENCH_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"needs the test data beside the checkout ({folder} is absent; set FNBENCH_TEST_DATA)")
    return folder
