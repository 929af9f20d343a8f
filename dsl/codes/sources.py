"""MCD5xx: sources and alignment."""

from __future__ import annotations

from ..diagnostics import Code, Severity

SOURCE_UNREADABLE = Code(
    "MCD501", "source-unreadable", "A file of a source cannot be read, or changed while it was compiled."
)
SOURCE_EMPTY = Code("MCD502", "source-empty", "A source holds no record.")
SOURCE_CORRUPT = Code("MCD503", "source-corrupt", "A file of a source is not what its format says.")
BROKEN_JSON = Code("MCD504", "broken-json", "A line of a source is no JSON.")
NOT_AN_OBJECT = Code("MCD505", "not-an-object", "A record of a source is JSON, but no object.")
BAD_ENCODING = Code("MCD506", "bad-encoding", "Text of a source is no valid UTF-8, or holds a NUL.")
MIXED_TYPES = Code("MCD507", "mixed-types", "A field has values of types that do not go together.")
NOT_A_TEXT = Code("MCD508", "not-a-text", "A field that stands for a text, an id or a split is a list or an object.")
NO_ID = Code("MCD509", "no-id", "A record has no id where the source reads it from a field.")
BAD_SPLIT = Code("MCD510", "bad-split", "A record names no split, or one that cannot name a folder.")
BAD_TOKENIZER = Code("MCD511", "bad-tokenizer", "A tokenizer file cannot be used.")
REPEATED_COLUMN = Code("MCD512", "repeated-column", "A file has two columns of the name that a source reads.")
BROKEN_CONLLU = Code("MCD513", "broken-conllu", "A line of a CoNLL-U file is no comment, word, token or empty node.")
FORM_NOT_IN_TEXT = Code("MCD514", "form-not-in-text", "The words of a CoNLL-U sentence are not those of its text.")
RECORD_TOO_LONG = Code("MCD515", "record-too-long", "A record of a source is longer than the limit.")
FOREIGN_CONTENT = Code(
    "MCD516", "foreign-content", "A file of a source is compressed, or of another format or encoding than it should be."
)
SOURCE_LIMIT = Code("MCD517", "source-limit", "A source has more columns, keys or nested types than the limit.")
REMOTE_NOT_READ = Code("MCD525", "remote-not-read", "A source lies in a remote folder that nobody allowed to be read.")
REMOTE_PACKAGE = Code("MCD526", "remote-package", "A package that reads URLs of a scheme is not installed.")
REMOTE_UNREACHABLE = Code("MCD527", "remote-unreachable", "What lies at a URL could not be read or written.")
REMOTE_DENIED = Code("MCD528", "remote-denied", "The server at a URL asks for other credentials.")
REMOTE_MISSING = Code("MCD529", "remote-missing", "Nothing lies at a URL, or nothing that a pattern matches.")
REMOTE_KEY = Code("MCD530", "remote-key", "The name of a remote object cannot be the path of a file.")
OFFSETS_SHAPE = Code("MCD550", "offsets-shape", "A field that `offsets` reads is no list of `{start, end, ...}`.")
OFFSETS_ENTRY = Code(
    "MCD551", "offsets-entry", "An entry that `offsets` reads lacks a whole number as start, end or message."
)
OFFSETS_OUTSIDE = Code(
    "MCD552", "offsets-outside", "An entry that `offsets` reads is no range of characters of its text."
)
OFFSETS_RESERVED = Code("MCD553", "offsets-reserved", "A key of the data has the name of a built-in attribute.")
OFFSETS_REPEATED = Code("MCD554", "offsets-repeated", "Two keys of the data become the attribute of one name.")
ATTRIBUTE_CONFLICT = Code("MCD555", "attribute-conflict", "`|` joins attributes of one name and different types.")
CONDITION_TYPES = Code("MCD556", "condition-types", "A condition puts together values of different types.")
# MCD557 was a pattern that the engine rejects while compiling, before checker and compiler built patterns in one way.
PATTERN_BYTES = Code("MCD558", "pattern-bytes", "A pattern matches a part of a character.")
TEXTS_TOO_LONG = Code("MCD559", "texts-too-long", "The texts of a set's spans are too long together to be compared.")
BAD_MARKUP = Code("MCD560", "bad-markup", "A field that `markup` reads has marks that do not go together.")
MESSAGES_SHAPE = Code("MCD561", "messages-shape", "A field that `chat` reads is no list of messages.")
MESSAGE_ENTRY = Code("MCD562", "message-entry", "A message has no role, or a content that is neither text nor parts.")
CHAT_REFUSED = Code("MCD563", "chat-refused", "A chat template refuses a record, or fails on it, under `lost = error`.")
CHAT_LIMIT = Code("MCD564", "chat-limit", "A chat template takes more steps or characters than the limit.")
CHAT_DATE = Code("MCD565", "chat-date", "A chat template asks for the date.")
CHAT_SPECIAL = Code("MCD566", "chat-special", "Messages hold the text of special tokens.", Severity.WARNING)
CHAT_UNRENDERED = Code(
    "MCD567", "chat-unrendered", "A chat template leaves out, or changes, what messages say.", Severity.WARNING
)
CHAT_LOST = Code(
    "MCD568", "chat-lost", "A chat template loses what messages say, or they hold special tokens, under `lost = error`."
)
LINKS_SHAPE = Code("MCD570", "links-shape", "A field that `linked` reads is no list of pairs of indices.")
LINKS_OUTSIDE = Code(
    "MCD571", "links-outside", "An entry that `linked` reads names a span that its record does not have."
)
LINKS_WEIGHT = Code("MCD572", "links-weight", "A weight that `linked` reads is below 0, or is no number.")

LOST = Code("MCD580", "lost", "Spans, edges or labels are lost to a rule.", Severity.WARNING)
LOST_REFUSED = Code("MCD581", "lost-refused", "Spans, edges or labels are lost to a rule with `lost = error`.")
EMPTY = Code("MCD582", "empty", "A rule matched nothing.", Severity.WARNING)
EMPTY_REFUSED = Code("MCD583", "empty-refused", "A rule with `lost = error` matched nothing.")
RAGGED = Code("MCD584", "ragged", "Edges of spans fall inside tokens.", Severity.WARNING)
DROPPED = Code("MCD585", "dropped", "Records came to nothing.", Severity.WARNING)
DROPPED_REFUSED = Code("MCD586", "dropped-refused", "Records came to nothing under `lost = error`.")
NO_SUCH_FIELD = Code("MCD587", "no-such-field", "No record has a field that the spec reads.")
SHARED_IDS = Code("MCD588", "shared-ids", "Two splits share a record.")
NOTHING_LEFT = Code("MCD589", "nothing-left", "No record is left to compile.")
NO_SUCH_SPLIT = Code("MCD590", "no-such-split", "An expectation names a split that the sources do not have.")
EXPECTATION = Code("MCD591", "expectation", "An expectation is not met.")
VOCABULARY = Code("MCD592", "vocabulary", "The tokenizer has more tokens than the model's vocabulary.")
