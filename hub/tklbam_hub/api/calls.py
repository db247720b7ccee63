"""What surrounds every call: its methods, its errors, its JSON."""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from tklbam_hub.api.errors import ApiError

log = logging.getLogger(__name__)
# A text is JSON already.
Answer = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str
Handler = Callable[..., Answer]


def call(**methods: Handler) -> Callable[..., HttpResponse]:
    """A view of handlers by method. Exempt from CSRF checks: a subkey is a header that no browser adds by itself."""

    @csrf_exempt
    @functools.wraps(next(iter(methods.values())))
    def view(request: HttpRequest, **arguments: Any) -> HttpResponse:
        began, worked = time.perf_counter(), time.thread_time()
        handler = methods.get(request.method or "")
        try:
            if handler is None:
                raise ApiError("Request.MethodNotAllowed", f"use {' or '.join(methods)}")
            answer = handler(request, **arguments)
        except ApiError as error:
            response = error.response()
            if handler is None:
                response["Allow"] = ", ".join(methods)
        except UnreadablePostError:
            response = ApiError("Request.BadArgument", "the body did not arrive whole").response()
        except DatabaseError:
            log.exception("%s %s: the database failed", request.method, request.path)
            response = ApiError("Hub.Unavailable", "the Hub's database does not answer", retry_after=60).response()
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = ApiError("Hub.Error", "the Hub made a mistake; its log says which").response()
        else:
            text = answer if isinstance(answer, str) else json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
            response = HttpResponse(text, content_type="application/json")
        took, work = time.perf_counter() - began, time.thread_time() - worked
        response["Server-Timing"] = f"app;dur={took * 1000:.1f}, cpu;dur={work * 1000:.1f}"
        # Key packets and credentials are in answers.
        response["Cache-Control"] = "no-store"
        return response

    return view


def not_found(request: HttpRequest, **arguments: Any) -> Answer:
    raise ApiError("Request.NotFound", "the API has no such call")
