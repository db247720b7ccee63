"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "tklbam_hub.notices"
    default_auto_field = "django.db.models.BigAutoField"
