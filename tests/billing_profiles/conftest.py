"""Profiles on the real registry of apps."""

import pytest

from meterhouse.apps.registry import InstalledApps
from meterhouse.billing.profiles import Profiles


@pytest.fixture
def profiles() -> Profiles:
    return Profiles(InstalledApps())
