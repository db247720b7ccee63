"""Profiles: what is served to servers, its versions, and uploads by those who run this Hub."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from tklbam_hub.audit import log
from tklbam_hub.console.forms import ProfileForm
from tklbam_hub.console.reader import account_of, operators_page, page
from tklbam_hub.profiles import archives
from tklbam_hub.profiles.models import ProfileArchive


def _visible(request: HttpRequest) -> QuerySet[ProfileArchive]:
    """Everybody's and the reader's own, without their content."""
    return ProfileArchive.objects.filter(Q(account=None) | Q(account=account_of(request))).defer("content")


@require_safe
@page
def overview(request: HttpRequest) -> HttpResponse:
    """One line an id: the version that this account's servers get."""
    served: dict[str, ProfileArchive] = {}
    for archive in _visible(request).filter(withdrawn=False).order_by("profile_id", "version"):
        best = served.get(archive.profile_id)
        if best is None or archive.account_id is not None or best.account_id is None:
            served[archive.profile_id] = archive
    return render(request, "console/profiles.html", {"section": "profiles", "archives": list(served.values())})


@require_safe
@page
def show(request: HttpRequest, profile_id: str) -> HttpResponse:
    versions = list(_visible(request).filter(profile_id=profile_id).order_by("-timestamp", "-version"))
    if not versions:
        raise Http404
    served = archives.newest(account_of(request), profile_id)
    context = {
        "section": "profiles",
        "profile_id": profile_id,
        "versions": versions,
        "served": served.pk if served else None,
    }
    return render(request, "console/profile.html", context)


@require_safe
@page
def download(request: HttpRequest, pk: int) -> HttpResponse:
    archive = get_object_or_404(_visible(request).defer(None), pk=pk)
    name = f"{archive.profile_id}-v{archive.version}.tar.gz"
    return HttpResponse(
        bytes(archive.content),
        content_type="application/gzip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@operators_page
def upload(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        made = _store(request, form.cleaned_data)
        if isinstance(made, ProfileArchive):
            messages.success(request, f"{made} is served from now on.")
            return redirect("console:profile", made.profile_id)
        form.add_error("archive", made)
    return render(request, "console/profile_upload.html", {"section": "profiles", "form": form})


def _store(request: HttpRequest, data: dict[str, Any]) -> ProfileArchive | str:
    """The stored version, or what is wrong with the archive."""
    signature = data["signature"].read().decode("ascii", "replace") if data["signature"] else ""
    content = data["archive"].read()
    try:
        unsigned = archives.check(data["profile_id"], content)
        made = archives.add(
            data["profile_id"], content, log.of_request(request), signature=signature, comment=data["comment"]
        )
    except archives.BadArchive as error:
        return str(error)
    if unsigned:
        messages.warning(request, f"No client will run hooks without a signature: {', '.join(unsigned)}.")
    return made


@require_http_methods(["GET", "HEAD", "POST"])
@operators_page
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    archive = get_object_or_404(_visible(request), pk=pk, withdrawn=False)
    if request.method == "POST":
        archives.withdraw(archive, log.of_request(request))
        messages.success(request, f"{archive} is served no longer.")
        return redirect("console:profile", archive.profile_id)
    return render(request, "console/profile_withdraw.html", {"section": "profiles", "archive": archive})
