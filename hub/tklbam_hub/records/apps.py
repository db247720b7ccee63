"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class RecordsConfig(AppConfig):
    name = "tklbam_hub.records"
    default_auto_field = "django.db.models.BigAutoField"
