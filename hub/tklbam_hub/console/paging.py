"""Long lists in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

PER_PAGE = 50
M = TypeVar("M", bound=Model)


def page_of(request: HttpRequest, things: QuerySet[M], per_page: int = PER_PAGE) -> Page[M]:
    """The page that the query asks for; an unusable number is the first or the last page, never an error."""
    return Paginator(things, per_page).get_page(request.GET.get("page"))


def context(page: Page[M]) -> dict[str, Any]:
    """What `pages.html` needs."""
    numbers: Sequence[int | str] = list(page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))
    return {"page": page, "page_numbers": numbers}
