"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    name = "tklbam_hub.profiles"
    default_auto_field = "django.db.models.BigAutoField"
