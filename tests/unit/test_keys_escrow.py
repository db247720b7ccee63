"""The escrow that is built in, through the same hook as any other."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tklbam_core.api.errors import KeyPacketError, TklbamError
from tklbam_core.api.models import EscrowRequest
from tklbam_core.keys.file_escrow import FileEscrow
from tklbam_core.plugins import Plugins


def store(place: str | Path, packet: bytes = b"UEFDS0VU", *, overwrite: bool = False) -> str | None:
    request = EscrowRequest(place=str(place), overwrite=overwrite)
    answer = Plugins().first("escrow", "tklbam_escrow_store", request=request, packet=packet)
    assert answer is None or isinstance(answer, str)
    return answer


def fetch(place: str | Path) -> bytes | None:
    answer = Plugins().first("escrow", "tklbam_escrow_fetch", request=EscrowRequest(place=str(place)))
    assert answer is None or isinstance(answer, bytes)
    return answer


def test_key_file_is_one_line_readable_by_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert store(tmp_path / "key") == str(tmp_path / "key")
    finally:
        os.umask(old)
    assert (tmp_path / "key").read_bytes() == b"UEFDS0VU\n"
    assert (tmp_path / "key").stat().st_mode & 0o7777 == 0o600
    assert fetch(tmp_path / "key") == b"UEFDS0VU\n"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_existing_file_stays_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("precious")
    with pytest.raises(TklbamError, match="exists already") as caught:
        store(tmp_path / "key")
    assert "--force" in caught.value.remedy
    assert (tmp_path / "key").read_text() == "precious"
    store(tmp_path / "key", overwrite=True)
    assert (tmp_path / "key").read_bytes() == b"UEFDS0VU\n"
    assert (tmp_path / "key").stat().st_mode & 0o7777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_link_keeps_pointing_where_it_does(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "stick/key")
    store(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "stick/key").read_bytes() == b"UEFDS0VU\n"


def test_dash_is_standard_output_and_input(monkeypatch: pytest.MonkeyPatch) -> None:
    out, given = io.BytesIO(), io.BytesIO(b"UEFDS0VU\n")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert store("-") == "standard output"
    assert out.getvalue() == b"UEFDS0VU\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    assert fetch("-") == b"UEFDS0VU\n"


def test_device_is_written_to_and_not_replaced() -> None:
    assert store("/dev/null", overwrite=True) == "/dev/null"
    assert store("/dev/null") == "/dev/null"
    assert not Path("/dev/null").is_file()


def test_place_of_another_plugin_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    escrow = FileEscrow()
    assert escrow.tklbam_escrow_store(EscrowRequest(place="hub:"), b"x") is None
    assert escrow.tklbam_escrow_fetch(EscrowRequest(place="hub:")) is None
    assert store("./hub:") == "hub:"
    assert list(tmp_path.iterdir()) == [tmp_path / "hub:"]


def test_missing_folder_and_folder_as_file_are_clear_errors(tmp_path: Path) -> None:
    for place in (tmp_path / "no/key", tmp_path):
        with pytest.raises(TklbamError) as caught:
            store(place)
        assert str(place) in caught.value.what
        assert caught.value.remedy
    with pytest.raises(TklbamError):
        fetch(tmp_path)
    assert fetch(tmp_path / "no") is None


def test_huge_file_named_by_mistake_is_not_read_whole(tmp_path: Path) -> None:
    with open(tmp_path / "image", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(KeyPacketError, match="larger than"):
        fetch(tmp_path / "image")
