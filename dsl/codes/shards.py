"""MCD6xx: shards and plan."""

from __future__ import annotations

from ..diagnostics import Code, Severity

NOT_A_DATASET = Code("MCD601", "not-a-dataset", "The directory holds no compiled dataset: it has no manifest.")
FILE_MISSING = Code("MCD602", "file-missing", "A file that the manifest lists is not there.")
FILE_SIZE = Code("MCD603", "file-size", "A file is shorter or longer than the manifest says.")
FILE_DIGEST = Code("MCD604", "file-digest", "A file's content is not what was written.")
NOT_ARROW = Code("MCD605", "not-arrow", "A shard is not a readable Arrow IPC file.")
NEWER_FORMAT = Code("MCD606", "newer-format", "A plan, manifest or shard was written by a newer version.")
NOT_READABLE = Code("MCD607", "not-readable", "A plan, manifest or anchor file cannot be read.")
SHARD_STRUCTURE = Code("MCD608", "shard-structure", "A shard's columns do not have the types or values of the format.")
COLUMN_MISSING = Code("MCD609", "column-missing", "A shard lacks a column that the plan requires.")
SET_MISSING = Code("MCD610", "set-missing", "A shard lacks a span or edge set that the plan reads.")
SPLIT_UNKNOWN = Code("MCD611", "split-unknown", "The dataset has no split of that name.")
OUTPUT_FOREIGN = Code("MCD612", "output-foreign", "The output directory holds files that no compilation wrote.")
OUTPUT_FAILED = Code("MCD613", "output-failed", "The output directory cannot be written.")
ROW_TOO_LARGE = Code("MCD614", "row-too-large", "A record has more list elements than a record batch may hold.")
ANCHOR_WIDTH = Code("MCD615", "anchor-width", "An anchor is missing, or is not a vector of the model's width.")
OUTPUT_BUSY = Code("MCD616", "output-busy", "Another process is compiling into the same directory.")
WORKER_LOST = Code("MCD617", "worker-lost", "A process that ran tasks ended before it was done with them.")
SPEC_CHANGED = Code("MCD618", "spec-changed", "A spec was edited while it was compiled.")
TASKS_MISSING = Code("MCD619", "tasks-missing", "A dataset is to be put together, and not all of its tasks are done.")
NOT_SHARED = Code("MCD630", "not-shared", "A node of a cluster wrote its shards where the others cannot see them.")
REPAIR_DIFFERS = Code(
    "MCD632", "repair-differs", "A dataset cannot be repaired: its spec or its sources are not what they were."
)
NO_CLUSTER = Code("MCD631", "no-cluster", "There is no Ray cluster at the address, or none can be started.")

FIELD_TYPE = Code("MCD620", "field-type", "A field's value is not of the type that a rule takes it for.")
FIELD_LENGTH = Code("MCD621", "field-length", "A list runs along a span set and has another length.")
VECTOR_WIDTH = Code("MCD622", "vector-width", "A vector does not have the model's width.")
VALUE_RANGE = Code("MCD623", "value-range", "A number does not fit the type that shards store it in.")
TEXT_TOO_LONG = Code("MCD624", "text-too-long", "A text has more tokens than the context, and `overflow` is `error`.")
CONTEXT_TOO_SHORT = Code("MCD625", "context-too-short", "The context leaves no room for a text's own tokens.")

TEACHER_RUN = Code("MCD640", "teacher-run", "A teacher has to be run while compiling, and cannot be.")
TEACHER_RANGE = Code("MCD641", "teacher-range", "A teacher's hidden state does not fit the type that it is stored in.")
TEACHER_ROWS = Code(
    "MCD642", "teacher-rows", "The stored states of a teacher are missing, or are not those of the shards."
)
EMPTY_CENTROID = Code("MCD643", "empty-centroid", "No span that a centroid is the mean of has a hidden state.")

MEASURE_MISSING = Code("MCD650", "measure-missing", "A measure that the plan reads was never taken on this dataset.")
MEASURE_COLUMN = Code("MCD651", "measure-column", "A measure lacks the column that the plan reads.")
MEASURE_OTHER = Code("MCD652", "measure-other", "A measure was taken on other shards than those of the dataset.")
MIX_EMPTY = Code("MCD653", "mix-empty", "A source of `mix` has no record in the split that is trained on.")

FILE_UNLISTED = Code(
    "MCD660", "file-unlisted", "A file lies in a dataset whose manifest does not list it.", Severity.WARNING
)
PLAN_BROKEN = Code("MCD661", "plan-broken", "The plan of a dataset contradicts itself.")
PLAN_UNFIT = Code("MCD662", "plan-unfit", "Plan and manifest of a dataset do not belong together.")
ANCHOR_VALUE = Code("MCD663", "anchor-value", "An anchor does not have length 1, or no rule of the plan knows it.")
SHARD_COUNTS = Code("MCD664", "shard-counts", "A shard has other rows or tokens than the manifest says.")
SHARD_PLACE = Code("MCD665", "shard-place", "A shard lies in the folder of another split, or holds another source.")
SCHEMA_DIFFERS = Code("MCD666", "schema-differs", "The shards of a dataset have different columns or sets.")
PARTS_BROKEN = Code("MCD667", "parts-broken", "The parts of a record are not one after another.")
ID_IN_SPLITS = Code("MCD668", "id-in-splits", "One record is in two splits of a dataset.")
COUNTS_DIFFER = Code("MCD669", "counts-differ", "The manifest counts what the shards do not hold.")
FILE_OUTSIDE = Code("MCD670", "file-outside", "A file of a dataset is a link that leads out of it.")
NO_SUCH_ROW = Code("MCD673", "no-such-row", "A dataset has fewer rows than the number that was asked for.")
NO_SUCH_RECORD = Code("MCD674", "no-such-record", "A dataset has no record of the id that was asked for.")
NO_SUCH_RULE = Code("MCD675", "no-such-rule", "The plan of a dataset has no rule of the name that was asked for.")
OTHER_TOKENIZER = Code("MCD676", "other-tokenizer", "The tokenizer that was given is not the one that made the shards.")
EXPORT_EXISTS = Code("MCD677", "export-exists", "The directory for an export is there, and is not to be replaced.")
EXPORT_SPLIT = Code("MCD678", "export-split", "Two splits of a dataset would have the same name in an export.")
