"""Every address of the Hub."""

from __future__ import annotations

from django.urls import include, path

from tklbam_hub import health

urlpatterns = [
    path("api/backup/", include("tklbam_hub.api.urls")),
    path("healthz", health.answer),
    path("", include("tklbam_hub.console.urls")),
]
