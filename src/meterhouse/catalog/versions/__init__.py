"""What plans and add-ons have in common: a key with counted versions, each a draft until it is published."""

from meterhouse.catalog.versions.version import Version, VersionStatus, card_path, status

__all__ = ["Version", "VersionStatus", "card_path", "status"]
