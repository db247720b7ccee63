"""The console's icons: strokes in a box of 24 × 24, drawn in the text's colour."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

PATHS = {
    "layers": '<path d="M12 3 3 7.5 12 12l9-4.5z"/><path d="m3 12 9 4.5 9-4.5"/><path d="m3 16.5 9 4.5 9-4.5"/>',
    "good": '<path d="m5 12.5 4.5 4.5L19 7"/>',
    "bad": '<path d="M12 7v6"/><path d="M12 16.8v.2"/><circle cx="12" cy="12" r="9"/>',
    "warn": '<path d="M12 4 2.8 20h18.4z"/><path d="M12 10v4"/><path d="M12 16.8v.2"/>',
    "late": '<circle cx="12" cy="12" r="9"/><path d="M12 7v5.5l3.5 2"/>',
    "running": '<path d="M20 12a8 8 0 1 1-2.5-5.8"/><path d="M20 3v4.5h-4.5"/>',
    "none": '<circle cx="12" cy="12" r="8" stroke-dasharray="3 3.2"/>',
    "note": '<circle cx="12" cy="12" r="9"/><path d="M12 11v6"/><path d="M12 7.2v.2"/>',
    "shield": '<path d="M12 3 5 5.5V11c0 4.6 2.9 8 7 10 4.1-2 7-5.4 7-10V5.5z"/><path d="m9 11.5 2.2 2.3L15.2 9.5"/>',
    "key": '<circle cx="8" cy="15" r="4.2"/><path d="m11 12 9-9"/><path d="m16 7 3 3"/>',
    "auto": '<circle cx="12" cy="12" r="8.5"/><path d="M12 3.5v17a8.5 8.5 0 0 0 0-17z" fill="currentColor"/>',
    "light": '<circle cx="12" cy="12" r="4"/><path d="M12 2.5v2.5m0 14v2.5M2.5 12H5m14 0h2.5'
    'M5.3 5.3 7 7m10 10 1.7 1.7m0-13.4L17 7M7 17l-1.7 1.7"/>',
    "dark": '<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"/>',
    "up": '<path d="M5 16 12 8l7 8"/>',
    "down": '<path d="m5 8 7 8 7-8"/>',
    "both": '<path d="m7 9 5-5 5 5"/><path d="m7 15 5 5 5-5"/>',
    "download": '<path d="M12 4v11"/><path d="m7 11 5 5 5-5"/><path d="M5 20h14"/>',
    "plus": '<path d="M12 5v14M5 12h14"/>',
}


def icon(name: str) -> SafeString:
    """The icon as SVG, hidden from readers of text: what it means stands beside it in words. Raises KeyError."""
    # The paths are this file's own constants.
    paths = mark_safe(PATHS[name])
    return format_html(
        '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"'
        ' stroke-linejoin="round" aria-hidden="true" focusable="false">{}</svg>',
        paths,
    )
