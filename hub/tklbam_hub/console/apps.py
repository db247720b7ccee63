"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "tklbam_hub.console"
    default_auto_field = "django.db.models.BigAutoField"
