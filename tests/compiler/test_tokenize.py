"""Token tables: byte ranges by byte lengths and by the library's offsets, both against plain Python."""

import dataclasses
import json
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from mcd.compiler.tokens.text import CodePoints, string_bytes
from mcd.compiler.tokens.tokenize import Encoder
from mcd.dsl.diagnostics import Failure

LINES = [
    "The cat sat on the mat because it was tired, isn't that so?",
    "Numbers 12345 and 67,890; café naïve über; mixed   spaces\tand\n\nlines.",
    "日本語のテキスト　です。 😀 smile 👩‍👩‍👧 family مرحبا بالعالم",
] * 20
WHITE_SPACE = {*map(chr, (*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F))}
WHITE_SPACE |= {"\u205f", "\u3000"}
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
TEXTS = [
    "The cat  sat.\n\n  on the\tmat ",
    " leading",
    "",
    "   ",
    "😀😀 x👩‍👩‍👧",
    "naïve e\u0301 é Å ﬁ ½",
    "日本　語\u00a0z",
    "مرحبا cat",
    "<s>cat</s> <s>",
    "\nline",
    "▁ real ▁mark",
]


def byte_level(**options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options.get("space", False))
    if options.get("split"):
        pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), byte])
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=ALPHABET, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    if options.get("space"):
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def words():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "the": 2, "a": 3, "c": 4, ".": 5}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def replacing():
    """A normaliser puts other characters for those of the text, so that lengths say nothing."""
    tokenizer = unigram()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("th", "t"), normalizers.Replace("c", "ch")])
    return tokenizer


def byte_fallback():
    vocabulary = {"<unk>": 0, **{f"<0x{i:02X}>": i + 1 for i in range(256)}, "▁": 257, "c": 258, "▁c": 259, "a": 260}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "c")], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


KINDS = {
    "byte-level": byte_level,
    "byte-level, split, NFC": lambda: byte_level(split=True),
    "byte-level, prefix space": lambda: byte_level(space=True),
    "word piece": word_piece,
    "unigram": unigram,
    "byte fallback": byte_fallback,
    "words": words,
    "replacing": replacing,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tokenizers")
    for name, make in KINDS.items():
        make().save(str(made / f"{name}.json"))
    return made


@pytest.fixture(scope="module", params=KINDS)
def pair(request, folder):
    """An encoder, and the library's tokenizer of the same file."""
    file = folder / f"{request.param}.json"
    return Encoder(file), Tokenizer.from_file(str(file))


def encode(encoder, texts):
    return encoder.encode(pa.array(texts, pa.string()))


def touched(table, texts, record):
    """Per token of a record, the code points that are no white space and share a byte with it."""
    bounds = np.cumsum([0, *(len(text.encode()) for text in texts)])
    text = texts[record]
    at = bounds[record] + np.cumsum([0, *(len(char.encode()) for char in text)])
    rows = range(table.offsets[record], table.offsets[record + 1])
    return [
        [
            i
            for i, char in enumerate(text)
            if at[i] < table.end[t] and at[i + 1] > table.start[t] and char not in WHITE_SPACE
        ]
        for t in rows
    ]


def by_the_library(tokenizer, text):
    encoding = tokenizer.encode(text)
    return [
        [] if mark or not token.strip("▁") else [i for i in range(start, end) if text[i] not in WHITE_SPACE]
        for token, mark, (start, end) in zip(
            encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True
        )
    ]


def check(pair, texts):
    encoder, tokenizer = pair
    table = encode(encoder, texts)
    assert table.ids.tolist() == [id for text in texts for id in tokenizer.encode(text).ids]
    assert (np.diff(table.start) >= 0).all() and (np.diff(table.end) >= 0).all() and (table.start <= table.end).all()
    assert (table.record == np.repeat(np.arange(len(texts)), np.diff(table.offsets))).all()
    bounds = np.cumsum([0, *(len(text.encode()) for text in texts)])
    assert (table.start >= bounds[table.record]).all() and (table.end <= bounds[table.record + 1]).all()
    for record, text in enumerate(texts):
        assert touched(table, texts, record) == by_the_library(tokenizer, text), text


def test_tables_agree_with_the_library(pair):
    check(pair, TEXTS)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=4))
def test_tables_agree_with_the_library_on_any_text(pair, texts):
    check(pair, texts)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text("a c\n\u00a0\u3000é\u0301😀▁<s>", max_size=12), max_size=4))
def test_tables_agree_with_the_library_on_hard_text(pair, texts):
    check(pair, texts)


def test_results_do_not_depend_on_the_batch(pair):
    encoder, _ = pair
    whole = encode(encoder, TEXTS)
    single = [encode(encoder, [text]) for text in TEXTS]
    shift = np.repeat(np.cumsum([0, *(len(text.encode()) for text in TEXTS[:-1])]), [len(t.ids) for t in single])
    for name in ("ids", "start", "end", "added"):
        joined = np.concatenate([getattr(table, name) for table in single])
        assert (getattr(whole, name) == joined + (shift if name in ("start", "end") else 0)).all()


def test_a_slice_of_an_array_is_encoded_like_a_whole_one(pair):
    encoder, _ = pair
    sliced = encoder.encode(pa.array(TEXTS, pa.string())[4:7])
    assert_equal(sliced, encode(encoder, TEXTS[4:7]))


def assert_equal(left, right):
    for item in dataclasses.fields(left):
        assert np.array_equal(getattr(left, item.name), getattr(right, item.name)), item.name


def test_these_tokenizers_need_no_offsets_of_the_library(folder):
    assert [name for name in KINDS if not Encoder(folder / f"{name}.json").fast] == ["replacing"]


@settings(max_examples=60, deadline=None)
@given(text=st.text("ca \n\u3000é😀", max_size=20))
def test_byte_level_ranges_are_those_of_the_bytes(folder, text):
    """A token's bytes are in its own name, one letter of the byte alphabet each."""
    file = folder / "byte-level.json"
    tokenizer = Tokenizer.from_file(str(file))
    letters = {letter: byte for byte, letter in zip(_bytes_in_order(), _letters_in_order(), strict=True)}
    table = encode(Encoder(file), [text])
    whole, position = text.encode(), 0
    spaces = {i for i, byte in enumerate(_space_bytes(text)) if byte}
    for token, start, end in zip(tokenizer.encode(text).tokens, table.start, table.end, strict=True):
        raw = bytes(letters[letter] for letter in token)
        assert whole[position : position + len(raw)] == raw
        ink = [i for i in range(position, position + len(raw)) if i not in spaces]
        assert (start, end) == (ink[0], ink[-1] + 1) if ink else start == end
        position += len(raw)


def _space_bytes(text):
    return [char in WHITE_SPACE for char in text for _ in char.encode()]


def _bytes_in_order():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return plain + [byte for byte in range(256) if byte not in plain]


def _letters_in_order():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(point) for point in plain] + [chr(0x100 + i) for i in range(256 - len(plain))]


def test_fast_and_library_ranges_mean_the_same(folder):
    for name in KINDS:
        fast, slow = Encoder(folder / f"{name}.json"), Encoder(folder / f"{name}.json")
        slow._whole.lengths = slow._chunks = None
        texts = [unicodedata.normalize("NFC", text) for text in TEXTS]
        points = CodePoints(string_bytes(pa.array(texts, pa.string()))[0])
        left, right = encode(fast, texts), encode(slow, texts)
        full = left.start < left.end
        assert (full == (right.start < right.end)).all()
        for a, b in zip(points.widen(left.start, left.end), points.widen(right.start, right.end), strict=True):
            assert (a[full] == b[full]).all(), name


def test_tokens_that_share_a_character_have_ranges_of_their_own(folder):
    for name in ("byte-level", "byte fallback"):
        encoder = Encoder(folder / f"{name}.json")
        encoder._whole.lengths = encoder._chunks = None
        table = encode(encoder, ["\U0001f9ff"])
        full = table.start < table.end
        ranges = list(zip(table.start[full].tolist(), table.end[full].tolist(), strict=True))
        assert len(ranges) > 1 and len(set(ranges)) == len(ranges)
        assert (ranges[0][0], ranges[-1][1]) == (0, 4)


def test_added_tokens_stand_at_the_edges(folder):
    encoder = Encoder(folder / "word piece.json")
    assert (encoder.prefix, encoder.suffix) == ((1,), (2,))
    table = encode(encoder, ["cat", "", " the"])
    assert table.added.tolist()[0] and table.added[-1]
    edges = [(s, e) for s, e, a in zip(table.start, table.end, table.added, strict=True) if a]
    assert edges == [(0, 0), (3, 3), (3, 3), (3, 3), (3, 3), (7, 7)]


def test_settings_of_the_file_that_change_the_text_are_off(folder, tmp_path):
    content = json.loads((folder / "byte-level.json").read_text())
    content["model"]["dropout"] = 0.9
    content["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    content["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<s>",
    }
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(content))
    assert_equal(encode(Encoder(file), TEXTS), encode(Encoder(folder / "byte-level.json"), TEXTS))


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"model": 3}', b"\xff\xfe"])
def test_what_is_no_tokenizer_is_a_finding(tmp_path, content):
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Failure) as caught:
        Encoder(file, "models/tokenizer.json")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code.id == "MCD511"
    assert diagnostic.place.path == "models/tokenizer.json"
    assert "tokenizer `models/tokenizer.json`" in diagnostic.message


def test_tokens_added_within_a_text_are_a_finding(tmp_path):
    tokenizer = byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Failure) as caught:
        Encoder(tmp_path / "tokenizer.json")
    assert caught.value.diagnostics[0].code.id == "MCD511"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (models.WordLevel({"cat": 0, "a": 1, "[UNK]": 2}, unk_token="[UNK]"), [0, -1, -1, 2, -1]),
        (models.BPE({"c": 0, "a": 1, "t": 2, "ca": 3, "cat": 4}, [("c", "a"), ("ca", "t")]), [4, -1, -1, -1, -1]),
        (models.Unigram([("?", 0.0), ("cat", -1.0), ("a", -2.0)], unk_id=0), [1, -1, -1, -1, -1]),
    ],
    ids=["words", "pairs", "unigrams"],
)
def test_a_single_token_is_known_and_alone(tmp_path, model, expected):
    """`dog` is a token that stands for what is unknown, which `[UNK]` says by name."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "t.json"))
    encoder = Encoder(tmp_path / "t.json")
    assert encoder.single(["cat", "cat a", "dog", "[UNK]", ""]).tolist() == expected
