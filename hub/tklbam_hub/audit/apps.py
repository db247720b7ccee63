"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "tklbam_hub.audit"
    default_auto_field = "django.db.models.BigAutoField"
