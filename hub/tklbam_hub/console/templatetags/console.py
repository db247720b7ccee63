"""Tags and filters of the console's templates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.messages.storage.base import Message
from django.forms import BoundField
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tklbam_hub.console import frame as frames
from tklbam_hub.console import icons, wording
from tklbam_hub.records.models import BackupSession

register = template.Library()
LEVELS = {"success": "good", "warning": "warn", "error": "bad"}

register.filter("size", wording.size)
register.filter("duration", wording.duration)
register.simple_tag(icons.icon, name="icon")


@register.filter
def span(length: timedelta) -> str:
    return wording.span(length)


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, with the exact time for machines and for whoever points at it; `never` where there is none."""
    if moment is None:
        return "never"
    ago = timezone.now() - moment
    said = "just now" if ago < timedelta(seconds=45) else f"{wording.span(ago)} ago"
    return _time(moment, said)


@register.filter
def moment(time: datetime | None) -> SafeString | str:
    """A point in time to the minute, in UTC."""
    if time is None:
        return "–"
    return _time(time, f"{time:%Y-%m-%d %H:%M}")


@register.filter
def day(time: datetime | None) -> SafeString | str:
    if time is None:
        return "–"
    return _time(time, f"{time:%Y-%m-%d}")


def _time(moment: datetime, said: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", said
    )


@register.simple_tag(takes_context=True)
def address(context: dict[str, Any], **changes: Any) -> str:
    """This page's address with parameters of its query changed; None or an empty text takes one away."""
    request: HttpRequest = context["request"]
    query: QueryDict = request.GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"{request.path}?{query.urlencode()}" if query else request.path


@register.filter
def described(field: BoundField) -> SafeString:
    """The field's input, tied to its help and its errors (`field_notes.html`) for screen readers."""
    notes = [f"{field.auto_id}_error"] if field.errors else []
    if field.help_text:
        notes.append(f"{field.auto_id}_help")
    attributes: dict[str, str | bool] = {"aria-describedby": " ".join(notes)} if notes else {}
    if field.errors:
        attributes["aria-invalid"] = "true"
    return field.as_widget(attrs=attributes)


@register.simple_tag(takes_context=True)
def frame(context: dict[str, Any]) -> frames.Frame:
    """Theme and version; without a request (a failing page's) the theme is the system's."""
    return frames.of(context.get("request"))


@register.simple_tag
def took(session: BackupSession) -> str:
    """How long a session ran; nothing for one that did not end."""
    if session.finished_at is None:
        return "–"
    return wording.duration((session.finished_at - session.started_at).total_seconds())


@register.filter
def level(message: Message) -> str:
    """The class, and the icon, that a message's level has here."""
    return LEVELS.get(message.level_tag, "note")
