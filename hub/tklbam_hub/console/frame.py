"""What surrounds every page: theme and version."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from tklbam_hub import __version__

THEME_COOKIE = "theme"
THEMES = {"auto": "Colours of the system", "light": "Light", "dark": "Dark"}
YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Frame:
    theme: str
    themes: tuple[tuple[str, str], ...]
    version: str


def of(request: HttpRequest | None) -> Frame:
    """The frame for a request; error pages may have none."""
    chosen = request.COOKIES.get(THEME_COOKIE, "auto") if request is not None else "auto"
    return Frame(chosen if chosen in THEMES else "auto", tuple(THEMES.items()), __version__)
