"""What `tklbam targets` shows: every kind of address, and what of its needs is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tklbam_core.api import SchemeInfo, SchemeOption, TargetError

from .duplicity import missing_modules
from .schemes import ALIASES, BY_NAME, OPTIONS, REFUSED, Scheme


def describe() -> Sequence[SchemeInfo]:
    """Looks at programs and modules on this machine; no network."""
    modules = sorted({module for scheme in BY_NAME.values() for module, _ in scheme.modules})
    try:
        absent = set(missing_modules(modules))
    except TargetError:
        absent = set(modules)  # without a duplicity nothing of its is there
    return [*(_info(scheme, absent) for scheme in BY_NAME.values()), *map(_refused, REFUSED)]


def _refused(name: str) -> SchemeInfo:
    return SchemeInfo(scheme=name, what=f"not served: {REFUSED[name]}", forms=(f"{name}://",))


def _info(scheme: Scheme, absent: set[str]) -> SchemeInfo:
    missing = [package for name, package in scheme.programs if shutil.which(name) is None]
    missing += [_module(module, extra) for module, extra in scheme.modules if module in absent]
    return SchemeInfo(
        scheme=scheme.name,
        what=scheme.what,
        forms=(*scheme.forms, *_other_names(scheme)),
        options=tuple(SchemeOption(key=key, meaning=OPTIONS[key]) for key in scheme.options),
        credentials=scheme.credentials,
        needs=tuple([package for _, package in scheme.programs] + [_module(*each) for each in scheme.modules]),
        missing=tuple(missing),
    )


def _other_names(scheme: Scheme) -> list[str]:
    """Its first example by each other name that none of them has."""
    told = {form.partition(":")[0] for form in scheme.forms}
    rest = scheme.forms[0].partition(":")[2]
    return [f"{alias}:{rest}" for alias, name in ALIASES.items() if name == scheme.name and alias not in told]


def _module(module: str, extra: str) -> str:
    return f"{module} (tklbam-storage-remote[{extra}])" if extra else module
