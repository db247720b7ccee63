"""Plugins as they are found, loaded and called; and every way in which one may be broken while the rest works."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api.errors import PluginError, TargetError
from tklbam_core.api.models import EscrowRequest, LifecycleEvent
from tklbam_core.plugins import Plugins, find, is_disabled

# ruff: noqa: F811

GOOD = """
from tklbam_core.api import hookimpl

@hookimpl
def tklbam_escrow_store(request, packet):
    return f"good keeps {len(packet)} bytes"
"""
ASK = EscrowRequest(place="vault:x")


def ask(plugins: Plugins) -> object:
    return plugins.first("escrow", "tklbam_escrow_store", request=ASK, packet=b"12345")


def reasons(plugins: Plugins) -> dict[str, str]:
    return {problem.plugin: problem.reason for problem in plugins.problems}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_anywhere", "it can't be loaded: ModuleNotFoundError"),
        ("def broken(:\n", "it can't be loaded: SyntaxError"),
        ("assert False, 'bad day'", "it can't be loaded: AssertionError: bad day"),
        ("raise RuntimeError('bad day')", "it can't be loaded: RuntimeError: bad day"),
        (
            "from tklbam_core.api import hookimpl\n@hookimpl\ndef tklbam_escrow_store(request, wrong): return 'bad'",
            "wrong",
        ),
        (
            "from tklbam_core.api import hookimpl\n@hookimpl\ndef tklbam_escrow_stroe(request): return 'bad'",
            "it implements hooks that do not exist: tklbam_escrow_stroe",
        ),
    ],
)
def test_broken_plugin_is_told_by_name_and_the_rest_works(install: Install, source: str, says: str) -> None:
    install("good-one", {"escrow": {"good": "good_one"}}, good_one=GOOD)
    install("bad-one", {"escrow": {"bad": "bad_one"}}, bad_one=source)
    told: list[str] = []
    plugins = Plugins(["tklbam-profiles-hub"], warn=lambda problem: told.append(str(problem)))
    assert ask(plugins) == "good keeps 5 bytes"
    assert says in reasons(plugins)["escrow:bad"]
    assert len(told) == 1
    assert told[0].startswith("plugin escrow:bad (bad-one) is not used: ")
    assert [plugin.name for plugin in plugins.load("escrow")] == ["file", "good"]
    ask(plugins)
    assert len(told) == 1, "each problem is told once"


@pytest.mark.parametrize(
    ("value", "source", "says"),
    [
        ("bad_one:Missing", "", "it can't be loaded: AttributeError"),
        ("bad_one:Plugin", "class Plugin:\n    def __init__(self): raise OSError('no disk')", "OSError: no disk"),
        ("bad_one:Plugin", "class Plugin:\n    def __init__(self, need): pass", "it can't be used: TypeError"),
    ],
)
def test_broken_class_is_told_by_name(install: Install, value: str, source: str, says: str) -> None:
    install("bad-one", {"escrow": {"bad": value}}, bad_one=source)
    plugins = Plugins()
    plugins.load("escrow")
    assert says in reasons(plugins)["escrow:bad"]


def test_two_that_claim_one_name_are_both_left_out_until_one_is_disabled(install: Install) -> None:
    install("first-vault", {"escrow": {"vault": "vault_one"}}, vault_one=GOOD)
    install("second-vault", {"escrow": {"vault": "vault_two"}}, vault_two=GOOD.replace("good", "second"))
    plugins = Plugins()
    assert ask(plugins) is None
    assert len(plugins.problems) == 2
    assert "second-vault claims the same name" in str(plugins.problems[0])
    assert "disable-plugin escrow:DISTRIBUTION" in str(plugins.problems[0])
    for word in ("first-vault", "escrow:first-vault"):
        plugins = Plugins([word])
        assert ask(plugins) == "second keeps 5 bytes"
        assert plugins.problems == []


@pytest.mark.parametrize("word", ["good", "escrow:good", "good-one", "escrow:good-one"])
def test_disabled_plugin_is_not_even_imported(install: Install, word: str) -> None:
    install("good-one", {"escrow": {"good": "good_one"}}, good_one=GOOD)
    plugins = Plugins([word])
    assert ask(plugins) is None
    assert "good_one" not in sys.modules
    (found,) = [plugin for plugin in find(["escrow"]) if plugin.name == "good"]
    assert is_disabled(found, [word])
    assert not is_disabled(found, ["storage:good", "other"])


def test_finding_imports_nothing_and_knows_distribution_and_version(install: Install) -> None:
    install("good-one", {"storage": {"good": "good_one"}}, version="3.2", good_one="raise SystemError")
    (found,) = [plugin for plugin in find() if plugin.name == "good"]
    assert (found.kind, found.distribution, found.version, found.label) == (
        "storage",
        "good-one",
        "3.2",
        "storage:good",
    )
    assert "good_one" not in sys.modules


def test_loading_by_name_imports_no_other(install: Install) -> None:
    install("two", {"storage": {"one": "one_module", "two": "two_module"}}, one_module="", two_module="")
    plugins = Plugins()
    assert [plugin.name for plugin in plugins.load("storage", "one")] == ["one"]
    assert "one_module" in sys.modules
    assert "two_module" not in sys.modules


@pytest.mark.parametrize("value", ["many", "many:plugin", "many:Plugin"])
def test_one_object_with_several_names_is_called_once_and_known_by_each(install: Install, value: str) -> None:
    install(
        "many",
        {"hooks": {"a": value, "b": value}},
        many="""
        from tklbam_core.api import hookimpl
        calls = []

        @hookimpl
        def tklbam_lifecycle(event):
            calls.append(event.stage)

        class Plugin:
            __hash__ = None  # a dataclass has none either

            @hookimpl
            def tklbam_lifecycle(self, event):
                calls.append(event.stage)

        plugin = Plugin()
        """,
    )
    plugins = Plugins()
    plugins.load("hooks", "a")
    assert [plugin.name for plugin in plugins.load("hooks", "b")] == ["b"]
    assert [plugin.name for plugin in plugins.load("hooks")] == ["a", "b"]
    plugins.tell("tklbam_lifecycle", event=LifecycleEvent(operation="backup", stage="pre", root=Path("/")))
    assert sys.modules["many"].calls == ["pre"]
    assert plugins.problems == []


def test_first_answer_wins_and_none_is_no_answer(install: Install) -> None:
    none = GOOD.replace('return f"good', 'return None and f"good')
    install("a-none", {"escrow": {"a": "a_none"}}, a_none=none)
    install("b-good", {"escrow": {"b": "b_good"}}, b_good=GOOD)
    install("c-none", {"escrow": {"c": "c_none"}}, c_none=none)
    assert ask(Plugins()) == "good keeps 5 bytes"


def test_wrapper_of_a_listener_surrounds_a_call(install: Install) -> None:
    install("good-one", {"escrow": {"good": "good_one"}}, good_one=GOOD)
    install(
        "wrapper",
        {"hooks": {"timer": "wrapping"}},
        wrapping="""
        from tklbam_core.api import hookimpl

        @hookimpl(wrapper=True)
        def tklbam_escrow_store(request, packet):
            answer = yield
            return f"[{answer}]"
        """,
    )
    assert ask(Plugins()) == "[good keeps 5 bytes]"


def test_answer_that_the_contract_does_not_allow_is_an_error(install: Install) -> None:
    install("bad", {"escrow": {"bad": "bad_one"}}, bad_one=GOOD.replace('f"good keeps {len(packet)} bytes"', "42"))
    with pytest.raises(PluginError, match=r"escrow:bad.*answered tklbam_escrow_store with int"):
        ask(Plugins())


def test_crash_of_a_plugin_is_an_error_and_its_own_errors_come_through(install: Install) -> None:
    install("bad", {"escrow": {"bad": "bad_one"}}, bad_one=GOOD.replace("len(packet)", "1 / 0"))
    with pytest.raises(PluginError, match=r"escrow:bad.*ZeroDivisionError"):
        ask(Plugins())
    install(
        "listener",
        {"hooks": {"listener": "listening"}},
        listening="""
        from tklbam_core.api import TargetError, hookimpl

        @hookimpl
        def tklbam_lifecycle(event):
            raise TargetError("full") if event.stage == "pre" else KeyError("x")
        """,
    )
    plugins = Plugins()
    with pytest.raises(TargetError, match="full"):
        plugins.tell("tklbam_lifecycle", event=LifecycleEvent(operation="backup", stage="pre", root=Path("/")))
    with pytest.raises(PluginError, match="KeyError"):
        plugins.tell("tklbam_lifecycle", event=LifecycleEvent(operation="backup", stage="post", root=Path("/")))


def test_nothing_is_written_to_the_home_directory(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "home").mkdir()
    install("good-one", {"escrow": {"good": "good_one"}}, good_one=GOOD)
    assert ask(Plugins()) == "good keeps 5 bytes"
    assert list((tmp_path / "home").iterdir()) == []


# --- `tklbam plugins` ------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "root/etc/tklbam").mkdir(parents=True)
    monkeypatch.setenv("TKLBAM_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def test_plugins_command_shows_what_each_handles_and_what_is_wrong(
    tklbam: Tklbam, install: Install, root: Path
) -> None:
    install("good-one", {"storage": {"good": "good_one"}, "escrow": {"good": "good_one"}}, good_one=GOOD)
    install("bad-one", {"databases": {"redis": "bad_one"}}, bad_one="import no_such_module_anywhere")
    install(
        "commands-one",
        {"commands": {"internal.fine": "cmd:fine", "internal.bad": "cmd:bad"}},
        cmd="import click\nfine = click.Command('fine')\nbad = 3\n",
    )
    install("off-one", {"hooks": {"off": "no_such_module_anywhere"}})
    (root / "etc/tklbam/conf").write_text("disable-plugin off\n")
    done = tklbam("plugins", "--json")
    assert done.status == 1
    found = {(row["kind"], row["name"]): row for row in json.loads(done.out)}
    good = found["escrow", "good"]
    assert (good["distribution"], good["version"], good["state"]) == ("good-one", "1.0", "used")
    assert good["hooks"] == ["tklbam_escrow_store"]
    assert found["storage", "good"]["handles"] == "good://"
    assert found["databases", "redis"]["state"] == "not used"
    assert "no_such_module_anywhere" in found["databases", "redis"]["problem"]
    assert found["commands", "internal.fine"]["state"] == "used"
    assert found["commands", "internal.fine"]["handles"] == "tklbam internal fine"
    assert found["commands", "internal.bad"]["problem"] == "it is a int, not a click command"
    assert (found["hooks", "off"]["state"], found["hooks", "off"]["problem"]) == ("disabled", "")
    assert found["escrow", "file"]["distribution"] == "tklbam-core"
    done = tklbam("plugins")
    assert done.status == 1
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "good:// good-one 1.0" in lines
    assert "redis bad-one 1.0 NOT USED" in lines
    assert "off off-one 1.0 disabled" in lines


def test_core_alone_says_what_is_there(tklbam: Tklbam, root: Path) -> None:
    installed = {plugin.distribution for plugin in find()} - {"tklbam-core"}
    (root / "etc/tklbam/conf").write_text("".join(f"disable-plugin {name}\n" for name in installed))
    done = tklbam("plugins", "--json")
    assert done.status == 0
    assert [row["distribution"] for row in json.loads(done.out) if row["state"] == "used"] == ["tklbam-core"]
