"""Add-ons: versions of a key, each with rate cards that are taken beside those of a plan."""

from meterhouse.catalog.addons.addon import Addon, AddonContent, AddonStatus, InstanceType, NewAddon, status
from meterhouse.catalog.addons.service import (
    AddonUse,
    archive,
    create,
    delete,
    get,
    get_active,
    get_by_id_or_key,
    get_many,
    issues,
    list_addons,
    listed_issues,
    locked,
    publish,
    update,
)
from meterhouse.catalog.addons.validation import addon_issues
from meterhouse.catalog.versions.repository import VersionQuery as AddonQuery

__all__ = [
    "Addon",
    "AddonContent",
    "AddonQuery",
    "AddonStatus",
    "AddonUse",
    "InstanceType",
    "NewAddon",
    "addon_issues",
    "archive",
    "create",
    "delete",
    "get",
    "get_active",
    "get_by_id_or_key",
    "get_many",
    "issues",
    "list_addons",
    "listed_issues",
    "locked",
    "publish",
    "status",
    "update",
]
