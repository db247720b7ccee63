"""What a terminal shows: lines that fit, bars that leave nothing behind, numbers as people say them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest

from tklbam_core.api.progress import ProgressEvent
from tklbam_core.cli.common import count, human_duration, human_size
from tklbam_core.cli.progress import clock, describe, shorten

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TKLBAM = [sys.executable, "-c", "from tklbam_core.cli.main import main; main()"]


def on_terminal(arguments: list[str], columns: int = 80, **environment: str) -> str:
    """All that a command writes to a terminal of so many columns, escape sequences included."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    with subprocess.Popen(
        arguments,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**clean, "TERM": "xterm-256color", **environment},
    ):
        os.close(terminal)
        written = b""
        while True:
            try:
                block = os.read(controller, 65536)
            except OSError:  # the terminal's last user is gone
                break
            if not block:
                break
            written += block
    os.close(controller)
    return written.decode("utf-8", "replace").replace("\r\n", "\n")


def speak(code: str, columns: int = 80) -> str:
    script = "from tklbam_core.cli.common import Output\noutput = Output()\n" + textwrap.dedent(code)
    return on_terminal([sys.executable, "-c", script], columns)


@pytest.mark.parametrize("columns", [50, 80])
def test_long_lines_are_broken_between_words_below_their_text(columns: int) -> None:
    words = "installed here and in the backup, but of another version, which stays as it is"
    lines = speak(f"output.note('  packages   {words}')\noutput.warn('{words} {words}')", columns).splitlines()
    plain = [ESCAPE.sub("", line) for line in lines]
    assert max(map(len, plain)) <= columns
    assert plain[1].startswith(" " * 13 + plain[1].strip()[:5])
    assert " ".join(" ".join(plain).split()) == f"packages {words} warning: {words} {words}"


def test_wide_terminals_are_not_filled_to_their_end() -> None:
    lines = speak("output.note('word ' * 60)", 250).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100


def test_addresses_stay_whole() -> None:
    address = "file:///srv/" + "a-long-name/" * 12
    assert address in speak(f"output.note('Stored a full session at {address}')").splitlines()[1]


def test_elsewhere_than_on_a_terminal_lines_stay_whole() -> None:
    code = "from tklbam_core.cli.common import Output; Output().note('word ' * 60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1


def test_errors_are_broken_between_words_too(tmp_path: Path) -> None:
    root = tmp_path / ("x" * 60)
    root.mkdir()
    shown = on_terminal([*TKLBAM, "restore-rollback", "--root", str(root)])
    assert shown.startswith("\x1b[31m\x1b[1merror: \x1b[0mthere is no restore to roll back\n")
    assert shown.endswith(f"\n  {root}/var/backups/tklbam-rollback\n    does not exist: nothing was restored here.\n")


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    for words in (["plugins"], ["restore"], ["status"]):
        assert "\x1b[" not in on_terminal([*TKLBAM, *words, "--root", str(tmp_path)], NO_COLOR="1")


def test_usage_errors_look_like_all_errors() -> None:
    done = subprocess.run([*TKLBAM, "backup", "--nosuch"], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.match(r"error: No such option:? '?--nosuch'?.*\n  See `tklbam backup --help`\.\n$", done.stderr)


def test_short_help_option_works_for_classic_names_too() -> None:
    code = "from tklbam_core.cli.main import backup; backup()"
    done = subprocess.run([sys.executable, "-c", code, "-h"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: tklbam-backup ")


def test_what_is_said_while_a_bar_is_shown_gets_a_line_of_its_own() -> None:
    shown = speak(
        """
        import time
        from tklbam_core.api.progress import ProgressEvent
        from tklbam_core.cli.progress import progress_bar

        with progress_bar(output) as progress:
            for number in range(1, 4):
                progress(ProgressEvent("scan", number * 1000, unit="files", item="/srv/www"))
                time.sleep(0.3)
                output.note(f"note {number}")
            output.warn("a warning")
            progress(ProgressEvent("upload", 5 << 20, 10 << 20))
            output.result("a result")
        print("end")
        """
    )
    assert "1,000 files" in ESCAPE.sub("", shown)
    assert "5.0 MB of 10.0 MB" in ESCAPE.sub("", shown)
    for line in ("note 1", "note 2", "note 3", "a result", "end"):
        # Whatever was drawn before it was erased: an erase sequence or a line's beginning stands in front.
        assert re.search(rf"(^|\n|\x1b\[2K|\x1b\[\?25h){line}\n", shown), line


def test_quiet_or_json_draws_nothing() -> None:
    for words in ("quiet=True", "as_json=True"):
        assert (
            speak(
                f"""
                from tklbam_core.api.progress import ProgressEvent
                from tklbam_core.cli.progress import progress_bar

                with progress_bar(Output({words})) as progress:
                    progress(ProgressEvent("scan", 1))
                """
            )
            == ""
        )


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KB"),
        (200_341_001, "191.1 MB"),
        (1023 << 20, "1.0 GB"),
        (3 << 40, "3.0 TB"),
        (5000 << 40, "5000.0 TB"),
    ],
)
def test_sizes(size: int, said: str) -> None:
    assert human_size(size) == said


def test_singular_and_plural() -> None:
    assert [count(number, "file") for number in (0, 1, 2, 2013)] == ["0 files", "1 file", "2 files", "2,013 files"]
    assert count(1, "owner or mode", "owners and modes") == "1 owner or mode"
    assert count(2, "owner or mode", "owners and modes") == "2 owners and modes"


def test_durations() -> None:
    assert [human_duration(number) for number in (0.4, 99, 150, 7200)] == ["0 s", "99 s", "2 min", "2.0 h"]
    assert [clock(number) for number in (7, 67, 3725)] == ["0:07", "1:07", "1:02:05"]


@pytest.mark.parametrize(
    ("event", "seconds", "said"),
    [
        (ProgressEvent("scan", 168, unit="files"), 0.2, "168 files"),
        (ProgressEvent("upload", 0, 200 << 20), 5, "0 bytes of 200.0 MB"),
        (ProgressEvent("upload", 50 << 20, 200 << 20), 10, "50.0 MB of 200.0 MB, 5.0 MB/s, 0:30 left"),
        (ProgressEvent("upload", 201 << 20, 200 << 20), 10, "200.0 MB of 200.0 MB, 20.0 MB/s"),
        (ProgressEvent("packages", 40, 100, "%"), 3, "40 %"),
        (ProgressEvent("download", 1, 9, "volumes"), 2, "1 of 9 volumes, 0:16 left"),
    ],
)
def test_bars_say_how_far_how_fast_how_much_longer(event: ProgressEvent, seconds: float, said: str) -> None:
    assert describe(event, seconds) == said


def test_what_is_at_hand_is_cut_where_it_says_least() -> None:
    assert shorten("/srv/www/site/page.html", 12) == "…e/page.html"
    assert shorten("Installing hello (amd64)", 12) == "Installing …"
    assert shorten("short", 12) == "short"
    assert shorten("anything", 3) == ""
