"""`tklbam internal`: the group of the parts."""

from .main import INTERNAL, LazyGroup

command = LazyGroup(
    INTERNAL,
    prefix="internal",
    name="internal",
    help="The parts that a backup is made of, for scripts and repairs.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
