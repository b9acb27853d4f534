"""Shared fixtures."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped, visibly, where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data is not beside the checkout")
    return SHARED_DATA
