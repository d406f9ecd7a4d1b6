"""Add-ons: versions of a key, each with rate cards that are taken beside those of a plan."""

from meterhouse.catalog.addons.addon import Addon, AddonContent, AddonStatus, InstanceType, NewAddon, status

__all__ = ["Addon", "AddonContent", "AddonStatus", "InstanceType", "NewAddon", "status"]
