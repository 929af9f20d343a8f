"""Tokens by chunks against those of whole texts, for every kind of tokenizer that is known to have cuts: all short strings over
one character of each kind, any strings of hard characters, and whatever was tokenised before."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from mcd.compiler.tokens import chunks
from mcd.compiler.tokens.chunks import Chunks, chunks_of
from mcd.compiler.tokens.cuts import cuts
from mcd.compiler.tokens.lengths import Texts
from mcd.compiler.tokens.patterns import ENDING_WORDS
from mcd.compiler.tokens.whole import WholeTexts

BYTES = pre_tokenizers.ByteLevel.alphabet()
CHARACTERS = "aB1.'_ \n\té\u00a0"
"""One of each kind that patterns and pre-tokenisers tell apart: letters in both cases, a digit, punctuation, the one that
contractions begin with, the one that is a letter to some, white space, a letter and a space beyond ASCII."""
HARD = CHARACTERS + "sS2,/([<>|▁\r\u0301\u0338\u2003\u3000日😀\x01¨"
ADDED = ["<s>", "[MASK]", "  ", "a_B"]


def split(pattern, *before):
    end = [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    return pre_tokenizers.Sequence([*before, *end])


def bpe(pre_tokenizer, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = sorted({*CHARACTERS, *HARD}) if options else BYTES
    special = list(filter(None, [options.get("unk_token")]))
    return trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )


def trained(tokenizer, trainer):
    rng = random.Random(0)
    words = ["".join(rng.choices(CHARACTERS, k=rng.randrange(1, 5))) for _ in range(300)]
    tokenizer.train_from_iterator((" ".join(rng.choices(words, k=20)) for _ in range(400)), trainer)
    return tokenizer


def digits(individual):
    return pre_tokenizers.Digits(individual_digits=individual)


def word_piece(pre_tokenizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizer
    return trained(
        tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    )


def unigram(pre_tokenizer, normalizer=None):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer or normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizer
    return trained(
        tokenizer,
        trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False),
    )


def word_level(pre_tokenizer):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "B": 2, "1": 3, ".": 4, "aB": 5, "_": 6}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def merges(normalizer, pre_tokenizer=None):
    """A BPE over whole texts, trained with marks before words so that no merge crosses one."""
    made = bpe(pre_tokenizers.Metaspace(prepend_scheme="never"), unk_token="<unk>")
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    return made


def marked(*before):
    return normalizers.Sequence([*before, normalizers.Replace(" ", "▁")])


KINDS = {
    **{name: lambda pattern=pattern: bpe(split(pattern)) for name, pattern in ENDING_WORDS.items()},
    "byte-level": lambda: bpe(pre_tokenizers.ByteLevel(False)),
    "byte-level, NFC": lambda: bpe(pre_tokenizers.ByteLevel(False), normalizers.NFC()),
    "byte-level, prefix space": lambda: bpe(pre_tokenizers.ByteLevel(True)),
    "digits, byte-level": lambda: bpe(pre_tokenizers.Sequence([digits(True), pre_tokenizers.ByteLevel(False)])),
    "digits, GPT-4": lambda: bpe(split(ENDING_WORDS["GPT-4, Llama 3"], digits(False))),
    "punctuation, byte-level": lambda: bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(False)])
    ),
    "DeepSeek": lambda: bpe(split(ENDING_WORDS["DeepSeek 3"], pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"))),
    "BERT": lambda: word_piece(pre_tokenizers.BertPreTokenizer()),
    "white space": lambda: word_level(pre_tokenizers.Whitespace()),
    "words": lambda: word_level(pre_tokenizers.WhitespaceSplit()),
    "words, marks": lambda: unigram(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    ),
    "pattern, compatible forms": lambda: unigram(
        pre_tokenizers.Split(Regex(ENDING_WORDS["GPT-4, Llama 3"]), "isolated")
    ),
    "marks": lambda: unigram(pre_tokenizers.Metaspace()),
    "marks, first": lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="first"), normalizers.Lowercase()),
    "marks, never": lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="never")),
    "marks, BPE": lambda: bpe(pre_tokenizers.Metaspace(), unk_token="<unk>"),
    "merges": lambda: merges(marked()),
    "merges, prepended": lambda: merges(marked(normalizers.Prepend("▁"))),
    "merges, first": lambda: merges(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "merges, split": lambda: merges(marked(), pre_tokenizers.Split(" ", "merged_with_previous")),
}

WITHOUT = {
    "another pattern": lambda: bpe(split(r"\S+\s?")),
    "no pattern": lambda: bpe(pre_tokenizers.ByteLevel(False, use_regex=False)),
    "scripts": lambda: bpe(pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.ByteLevel(False)])),
    "a word of spaces": lambda: added(KINDS["byte-level"](), "  ", single_word=True),
    "a token with a space": lambda: added(KINDS["byte-level"](), "New York"),
    "a normaliser of words": lambda: unigram(pre_tokenizers.Metaspace(), normalizers.Replace("a B", "B")),
    "merges over spaces": lambda: bpe(pre_tokenizers.Metaspace(split=False), unk_token="<unk>"),
}


def added(tokenizer, *texts, **options):
    tokenizer.add_tokens([AddedToken(text, **options) for text in texts])
    return tokenizer


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    """The two ways of one tokenizer."""
    return both_ways(KINDS[request.param]())


@pytest.fixture(scope="module", autouse=True)
def always():
    """Chunks are used however little they give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "USEFUL", -1.0)
        yield


def both_ways(tokenizer):
    whole = WholeTexts(tokenizer)
    assert whole.lengths is not None
    assert chunks_of(tokenizer, whole) is not None, "it does not agree on samples"
    return Chunks(tokenizer, cuts(tokenizer), whole.lengths), whole


def check(pair, texts):
    """The number of texts that chunks gave, of which every token is that of the whole text."""
    by_chunks, whole = pair
    given = Texts.of(pa.array(texts, pa.string()))
    rows, found = by_chunks.tokens(given)
    expected = whole.tokens(given.take(rows))
    for name in ("counts", "ids", "start", "end"):
        left, right = getattr(found, name), getattr(expected, name)
        if not np.array_equal(left, right):
            for row in rows.tolist():
                assert_same(pair, texts[row])
            raise AssertionError(f"{name} differ for {len(texts)} texts, and for none alone")
    return len(rows)


def assert_same(pair, text):
    given = Texts.of(pa.array([text], pa.string()))
    _, found = pair[0].tokens(given)
    expected = pair[1].tokens(given)
    assert (found.ids.tolist(), found.start.tolist(), found.end.tolist()) == (
        expected.ids.tolist(),
        expected.start.tolist(),
        expected.end.tolist(),
    ), repr(text)


def strings(characters, length):
    return ["".join(letters) for n in range(length + 1) for letters in itertools.product(characters, repeat=n)]


def test_all_short_strings(pair):
    assert check(pair, strings(CHARACTERS, 3)) > 200


@pytest.mark.slow
def test_all_longer_strings(pair):
    for characters, length in ((CHARACTERS, 4), ("a1.' \n", 6)):
        texts = strings(characters, length)
        for start in range(0, len(texts), 1 << 16):
            check(pair, texts[start : start + (1 << 16)])


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text(HARD, max_size=30), max_size=8))
def test_any_hard_text(pair, texts):
    check(pair, texts)


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["a", "aB", "aB1", " ", "  ", ".", "_", "\n", "'s"]), max_size=20), max_size=8
    )
)
def test_any_text_of_words(pair, texts):
    check(pair, ["".join(pieces) for pieces in texts])


PARTS = [*ADDED, "<s", "s>", "[MASK", "MASK]", "a_", "_B", " ", "a", "B", ".", "\n", "x"]


@pytest.mark.parametrize(
    "options", [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": False}]
)
@pytest.mark.parametrize(
    "kind", ["GPT-4, Llama 3", "byte-level, prefix space", "BERT", "marks", "merges", "merges, prepended"]
)
def test_texts_with_added_tokens(kind, options):
    texts = [text for text in ADDED if not (text.isspace() and "single_word" in options)]
    tokenizer = added(KINDS[kind](), *texts, **options)
    if kind == "merges, prepended" and "single_word" in options:
        assert cuts(tokenizer) is None, "the mark before a word is looked for with it"
        return
    by_both = both_ways(tokenizer)
    rng = random.Random(1)
    check(by_both, ["".join(rng.choices(PARTS, k=rng.randrange(8))) for _ in range(3000)])


@pytest.mark.parametrize("kind", WITHOUT)
def test_others_have_no_cuts(kind):
    assert cuts(WITHOUT[kind]()) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_tokenised_before_changes_nothing(kind, monkeypatch):
    """With ways of its own: what other tests had them keep, under a higher limit, would be counted here."""
    pair = both_ways(KINDS[kind]())
    monkeypatch.setattr(chunks, "KEPT", 40)
    monkeypatch.setattr(chunks, "LONGEST", 3)
    rng = random.Random(2)
    for size in (1, 3, 100, 1, 300):
        check(pair, ["".join(rng.choices(HARD, k=rng.randrange(40))) for _ in range(size)])
        assert len(pair[0]._table) == len(pair[0]._codes) <= 40 + 300 * 40


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(chunks, "KEPT", 100)
    by_both = both_ways(KINDS["byte-level"]())
    for start in range(0, 2000, 50):
        check(by_both, [f"w{number} and x{'y' * 60}{number}" for number in range(start, start + 50)])
        assert len(by_both[0]._codes) == len(by_both[0]._table) <= 100 + 60


def test_chunks_that_give_little_are_left_alone_for_some_batches(monkeypatch):
    monkeypatch.setattr(chunks, "USEFUL", 0.25)
    by_both = both_ways(KINDS["byte-level"]())
    sizes = [check(by_both, [f"{number}{'y' * number}" for number in range(n, n + 20)]) for n in range(0, 200, 20)]
    assert sizes == [20, *[0] * chunks.IDLE, 20, 0], "what is new, and what is left to the library"
    assert [check(by_both, ["a a a a a"]) for _ in range(8)][-1] == 1
