"""The whole relational schema: importing every `models` module fills `Base.metadata`."""

import pkgutil
from importlib import import_module

from sqlalchemy import MetaData

import meterhouse
from meterhouse.kernel.db import Base


def metadata() -> MetaData:
    """Return the metadata of all tables."""
    for module in pkgutil.walk_packages(meterhouse.__path__, prefix="meterhouse."):
        if module.name.rpartition(".")[2] == "models":
            import_module(module.name)
    return Base.metadata
