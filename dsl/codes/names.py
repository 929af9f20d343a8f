"""MCD2xx: names and imports."""

from __future__ import annotations

from ..diagnostics import Code, Severity

NO_FILE = Code("MCD201", "no-file", "A file that the spec names does not exist.")
OUTSIDE_ROOT = Code("MCD202", "outside-root", "A path of the spec leaves the project root.")
UNREADABLE_FILE = Code("MCD203", "unreadable-file", "A file that the spec names cannot be read as text.")
IMPORT_CYCLE = Code("MCD204", "import-cycle", "Files import each other in a circle.")
TOO_MANY_FILES = Code("MCD205", "too-many-files", "A spec reads more files than the limit.")
ROOT_ONLY = Code(
    "MCD206", "root-only", "A declaration counts in the root file alone, and is ignored here.", Severity.WARNING
)
DUPLICATE_NAME = Code("MCD207", "duplicate-name", "Two declarations of one file have the same name.")
UNNAMED_TWINS = Code("MCD208", "unnamed-twins", "Two rules without a name have the same kind and subject.")
UNKNOWN_NAME = Code("MCD209", "unknown-name", "Nothing of that name is declared.")
PRIVATE_NAME = Code("MCD210", "private-name", "A name that starts with `_` is used outside its file.")
NAME_CYCLE = Code("MCD211", "name-cycle", "Definitions refer to each other in a circle.")
REPEATED_ATTRIBUTE = Code("MCD212", "repeated-attribute", "An attribute stands twice in one block.")
UNKNOWN_ATTRIBUTE = Code("MCD213", "unknown-attribute", "A block has an attribute that its kind does not know.")
MISSING_ATTRIBUTE = Code("MCD214", "missing-attribute", "A block lacks an attribute that its kind requires.")
UNKNOWN_FUNCTION = Code("MCD215", "unknown-function", "A call of something that does not exist.")
UNKNOWN_ARGUMENT = Code("MCD216", "unknown-argument", "An argument that the called function does not take.")
MISSING_ARGUMENT = Code("MCD217", "missing-argument", "An argument that the called function requires is missing.")
NO_ATTRIBUTE = Code("MCD218", "no-attribute", "A span is asked for an attribute that it cannot have.")
NO_MATCH = Code("MCD219", "no-match", "A pattern for data files matches none.")
DECLARED_TWICE = Code("MCD220", "declared-twice", "A declaration that may stand once in a spec stands twice.")
UNKNOWN_FIELD = Code("MCD221", "unknown-field", "No source has the field, or no template has the slot.")
UNKNOWN_SPLIT = Code("MCD222", "unknown-split", "No source puts records into the split.")
MISSING_DECLARATION = Code("MCD223", "missing-declaration", "A spec lacks a declaration that every spec needs.")

UNUSED_IMPORT = Code("MCD230", "unused-import", "A file is imported, and nothing comes of it.", Severity.WARNING)
UNUSED_DECLARATION = Code("MCD231", "unused-declaration", "Nothing that acts uses a declaration.", Severity.WARNING)
SHADOWS_PRELUDE = Code(
    "MCD232", "shadows-prelude", "A name hides `tokens` or `record`, in all of its file.", Severity.WARNING
)
SHADOWS_FILE = Code("MCD233", "shadows-file", "A name in a frame hides a name of the file around it.", Severity.WARNING)

UNUSED_PARAMETER = Code(
    "MCD240", "unused-parameter", "Nothing in a frame names one of its parameters.", Severity.WARNING
)
NOT_IN_FRAME = Code("MCD241", "not-in-frame", "A declaration that has no meaning in a frame.")
BAD_SETTING = Code("MCD242", "bad-setting", "A setting of the command line is not `NAME=VALUE`, or is given twice.")
