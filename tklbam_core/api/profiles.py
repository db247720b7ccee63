"""What a profile plugin needs beyond `tklbam_core.api`: writing profiles, and reading what dpkg knows of a system.

Apart from the rest of the api, so that a plugin of another kind does not pay for importing it. Paths of the system are
absolute `bytes` within its root.
"""

from __future__ import annotations

from ..delta.attributes import ProfileAttributesWriter
from ..delta.changes import find_changes
from ..delta.content import open_regular
from ..delta.dirindex import IndexWriter, read_index
from ..delta.escape import sort_key
from ..delta.model import Entry
from ..delta.profile import (
    ATTRIBUTES,
    CONF,
    CUSTOM_PREFIX,
    EMPTY_ID,
    INDEX,
    PACKAGES,
    Created,
    Profile,
    Told,
    check_profile_id,
    create_profile,
    write_empty_index,
    write_identity,
    write_packages,
)
from ..delta.profile_import import adopt_archive, adopt_profile
from ..delta.rules import PathRules
from ..delta.scan import Problem, ScanReport, Walk, entry_of
from ..system.dpkg import automatic, display_name, has_dpkg, installed, native_architecture, stanzas
from ..system.dpkg_files import (
    Conffile,
    Diversion,
    StatOverride,
    conffiles,
    diversions,
    file_lists,
    md5sums,
    stat_overrides,
)
from ..system.identity import detect_profile_id, profile_candidates
from ..system.rooted import inside

__all__ = [
    "ATTRIBUTES",
    "CONF",
    "CUSTOM_PREFIX",
    "EMPTY_ID",
    "INDEX",
    "PACKAGES",
    "Conffile",
    "Created",
    "Diversion",
    "Entry",
    "IndexWriter",
    "PathRules",
    "Problem",
    "Profile",
    "ProfileAttributesWriter",
    "ScanReport",
    "StatOverride",
    "Told",
    "Walk",
    "adopt_archive",
    "adopt_profile",
    "automatic",
    "check_profile_id",
    "conffiles",
    "create_profile",
    "detect_profile_id",
    "display_name",
    "diversions",
    "entry_of",
    "file_lists",
    "find_changes",
    "has_dpkg",
    "inside",
    "installed",
    "md5sums",
    "native_architecture",
    "open_regular",
    "profile_candidates",
    "read_index",
    "sort_key",
    "stanzas",
    "stat_overrides",
    "write_empty_index",
    "write_identity",
    "write_packages",
]
