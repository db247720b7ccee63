"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class StorageConfig(AppConfig):
    name = "tklbam_hub.storage"
    default_auto_field = "django.db.models.BigAutoField"
