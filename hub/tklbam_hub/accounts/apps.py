"""How Django knows this part."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "tklbam_hub.accounts"
    default_auto_field = "django.db.models.BigAutoField"
