"""Dataclasses as JSON and back, each member checked against its declared type: for the registry's small records."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

Record = TypeVar("Record")


def to_plain(value: object) -> Any:
    """What `json` can write: times as ISO 8601 with their offset, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def from_plain(cls: type[Record], value: object, newest: int) -> Record:
    """A record from what `json` read. Members that are not known are ignored, absent ones take their default.

    Its `format` may be up to `newest`. Raises ValueError, naming the member that is wrong.
    """
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if not isinstance(value.get("format"), int) or value["format"] > newest:
        raise ValueError(f"its format is {value.get('format')!r}, not {newest}")
    return typing.cast(Record, _build(cls, value))


def _build(cls: type, value: Mapping[str, Any]) -> object:
    hints = _hints(cls)
    content = {}
    for item in dataclasses.fields(cls):
        if item.name in value:
            content[item.name] = _member(item.name, hints[item.name], value[item.name])
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ValueError(f"it has no {item.name!r}")
    return cls(**content)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _member(name: str, hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _member(name, next(choice for choice in arguments if choice is not type(None)), value)
    if origin is Literal:
        if value in arguments and isinstance(value, str):
            return value
        raise ValueError(f"{name!r} is {value!r}, not one of {', '.join(map(repr, arguments))}")
    if origin is tuple and isinstance(value, list):
        return tuple(_member(name, arguments[0], item) for item in value)
    if hint is datetime and isinstance(value, str):
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError(f"{name!r} has no offset from UTC")
        return time
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast(type, hint), value)
    if origin is not None and isinstance(value, dict):
        return {str(key): _member(name, arguments[1], item) for key, item in value.items()}
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise ValueError(f"{name!r} is {value!r}")
