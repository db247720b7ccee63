"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class ThrottleConfig(AppConfig):
    name = "tklbam_hub.throttle"
    default_auto_field = "django.db.models.BigAutoField"
