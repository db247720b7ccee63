"""A profile's archive as it travels: `{"archive_content": "…"}`, URL-safe Base64 of a .tar.gz, never held whole."""

from __future__ import annotations

import base64
import binascii
import mmap
import re
from typing import BinaryIO

from .answers import Nonsense

_CONTENT = re.compile(rb'"archive_content"\s*:\s*"([A-Za-z0-9_=-]+)"')
CHUNK = 4 << 16
"""Characters decoded at once: four for three bytes."""


def write_archive(answer: BinaryIO, file: BinaryIO) -> None:
    """Decodes the answer (a real file) into `file`, which is left at its start. Raises Nonsense."""
    answer.flush()
    if answer.seek(0, 2) == 0:
        raise Nonsense("its answer is empty")
    with mmap.mmap(answer.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = _CONTENT.search(content)
        if found is None:
            raise Nonsense("the field archive_content")
        begin, end = found.span(1)
        del found  # it holds the map
        try:
            for start in range(begin, end, CHUNK):
                file.write(base64.urlsafe_b64decode(content[start : min(start + CHUNK, end)]))
        except binascii.Error as error:
            raise Nonsense("the field archive_content, which is no Base64") from error
    file.seek(0)
