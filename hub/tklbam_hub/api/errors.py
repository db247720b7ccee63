"""Errors by the names that clients know. The body is plain text, `Name: description`."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse

STATUS: Final = {
    "Request.MissingHeader": 400,
    "Request.MissingArgument": 400,
    "HubAccount.InvalidApiKey": 400,
    "BackupAccount.InvalidSubKey": 400,
    "BackupRecord.ServerIDNotFound": 400,
    "HubAccount.Forbidden": 401,
    "BackupAccount.MalformedSubKey": 401,
    "BackupAccount.NotSubscribed": 401,
    "BackupRecord.LimitExceeded": 401,
    "BackupAccount.NotFound": 404,
    "BackupRecord.NotFound": 404,
    "BackupArchive.NotFound": 404,
    # Ours: the classic Hub had no names for these.
    "Request.BadArgument": 400,
    "Request.NotFound": 404,
    "Request.MethodNotAllowed": 405,
    "Request.TooLarge": 413,
    "Request.TooManyAttempts": 429,
    "Hub.Error": 500,
    "Hub.NoStorage": 503,
    "Hub.Unavailable": 503,
}


class ApiError(Exception):
    """Ends a call with a named error; `retry_after` is seconds."""

    def __init__(self, name: str, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(f"{name}: {description}")
        self.name = name
        self.status = STATUS[name]
        self.retry_after = retry_after

    def response(self) -> HttpResponse:
        # One line: clients split it at the first colon.
        text = " ".join(str(self).split())
        answer = HttpResponse(text, status=self.status, content_type="text/plain; charset=utf-8")
        if self.retry_after is not None:
            answer["Retry-After"] = str(self.retry_after)
        return answer
