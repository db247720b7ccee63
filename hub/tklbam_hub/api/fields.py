"""A call's fields: from the query string of a GET, from the URL-encoded body of a POST or PUT."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, QueryDict

from tklbam_hub.api.errors import ApiError

YES = frozenset(("true", "1", "yes", "on"))
NO = frozenset(("false", "0", "no", "off"))
# What fits into a PostgreSQL bigint.
LARGEST = 2**63 - 1


class Fields:
    """Reads fields by name; what can't be used is an ApiError that names the field."""

    def __init__(self, request: HttpRequest) -> None:
        try:
            raw = request.META.get("QUERY_STRING", "") if request.method == "GET" else request.body
            self._values = QueryDict(raw, encoding="utf-8")
        except RequestDataTooBig:
            raise ApiError("Request.TooLarge", "the body is larger than any call needs") from None
        except SuspiciousOperation:
            raise ApiError("Request.TooLarge", "the body has more fields than any call needs") from None

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, most: int) -> str:
        """A field that must be there, of 1 to `most` characters."""
        value = self.optional(name, most)
        if not value:
            raise ApiError("Request.MissingArgument", name)
        return value

    def optional(self, name: str, most: int) -> str:
        """A field of up to `most` characters, "" when it is not there."""
        value = str(self._values.get(name) or "")
        if len(value) > most:
            raise ApiError("Request.BadArgument", f"{name}: longer than {most} characters")
        # No text of ours has them, and PostgreSQL stores none.
        if "\x00" in value:
            raise ApiError("Request.BadArgument", f"{name}: holds a null character")
        return value

    def line(self, name: str, most: int) -> str:
        """Like `optional`, without control characters."""
        value = self.optional(name, most)
        if not value.isprintable():
            raise ApiError("Request.BadArgument", f"{name}: must be one line of printable characters")
        return value

    def flag(self, name: str) -> bool:
        value = self.optional_flag(name)
        if value is None:
            raise ApiError("Request.MissingArgument", name)
        return value

    def optional_flag(self, name: str) -> bool | None:
        word = self.optional(name, 10).lower()
        if not word:
            return None
        if word in YES:
            return True
        if word in NO:
            return False
        raise ApiError("Request.BadArgument", f"{name}: must be true or false")

    def optional_number(self, name: str) -> int | None:
        word = self.optional(name, 20)
        if not word:
            return None
        if not (word.isascii() and word.isdigit()) or int(word) > LARGEST:
            raise ApiError("Request.BadArgument", f"{name}: must be a whole number of bytes")
        return int(word)

    def optional_choice(self, name: str, choices: tuple[str, ...]) -> str:
        word = self.optional(name, 40)
        if word and word not in choices:
            raise ApiError("Request.BadArgument", f"{name}: must be one of {', '.join(choices)}")
        return word
