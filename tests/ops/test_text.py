"""Strings, regular expressions and n-grams, against Python's own."""
import collections
import re

import numpy as np
import pytest

from nodes import Failed, Nodes, refuses

RNG = np.random.default_rng(3)
F32 = np.float32


def words(*a):
    return np.array(a, object)


def test_concat():
    a, b = words("a", "é", "")[:, None], words("x", "", "ß漢")
    Nodes(20).add("StringConcat", [a, b], [a + b]).add("StringConcat", [words("p").reshape(()), b], ["p" + b]) \
        .add("StringConcat", [np.zeros((0, 3), object), b], [np.zeros((0, 3), object)]).check()


def split(x, *args):
    parts = [str(s).split(*args) for s in x.ravel()]
    most = max(map(len, parts), default=0)
    y = np.array([p + [""] * (most - len(p)) for p in parts], object).reshape(*x.shape, most)
    return [y, np.array([len(p) for p in parts], np.int64).reshape(x.shape)]


@pytest.mark.parametrize("delimiter", [None, "", ",", "--", "é"])
@pytest.mark.parametrize("most", [None, 0, 1, 2])
def test_split(delimiter, most):
    x = words("a b  c", " lead and trail  ", "", "   ", "a,b,,c,", "--x----y", "é1é2", "tab\tnew\nline\u2003em\u3000\u00a0")
    want = split(x.reshape(2, 4), delimiter or None, *([] if most is None else [most]))
    attrs = ({"delimiter": delimiter} if delimiter is not None else {}) | ({"maxsplit": most} if most is not None else {})
    Nodes(20).add("StringSplit", [x.reshape(2, 4)], want, **attrs).add("StringSplit", [x], [*split(x, *([delimiter or None] + ([] if most is None else [most])))], **attrs).check()


def test_normalizer():
    x = words("Monday", "tuesday", "ÉTÉ", "Σας", "i", "I")
    nodes = Nodes(10)
    nodes.add("StringNormalizer", [x], [x])
    nodes.add("StringNormalizer", [x], [words(*[s.lower() for s in x])], case_change_action="LOWER")
    nodes.add("StringNormalizer", [x], [words(*[s.upper() for s in x])], case_change_action="UPPER")
    nodes.add("StringNormalizer", [x[None]], [words("TUESDAY", "ΣΑΣ", "I", "I")[None]], case_change_action="UPPER",
              stopwords=["MONDAY", "été"])
    nodes.add("StringNormalizer", [x], [words("tuesday", "ÉTÉ", "Σας", "i", "I")], is_case_sensitive=1,
              stopwords=["Monday", "été"])
    nodes.add("StringNormalizer", [x[:1]], [words("")], stopwords=["monday"])
    nodes.add("StringNormalizer", [x[None, :1]], [words("")[None]], stopwords=["monday"])
    nodes.add("StringNormalizer", [x[4:]], [words("i", "ı")], case_change_action="LOWER", locale="tr_TR")
    nodes.add("StringNormalizer", [x[4:]], [words("İ", "I")], case_change_action="UPPER", locale="az")
    nodes.check()
    refuses(Nodes(10).add("StringNormalizer", [words("a", "b")[:, None]], [x]), "[1, C]")


MATCHES = {
    r"www\.[\w.-]+\.\bcom\b": ["www.google.com", "www.facebook.com", "www.bbc.co.uk"],
    r"(a|ab)(c|bcd)": ["abcd", "ac", "abc", "abcde"], r"a|ab": ["a", "ab"], r"(a*)*b": ["a" * 60, "a" * 60 + "b"],
    r"(\w+\s?)+!": ["word " * 30, "word " * 30 + "!"], r"": ["", "x"], r"\d{2,4}": ["1", "12", "12345", "1234"],
    r"x{,2}": ["x{,2}", "xx"], r"a{": ["a{"], r".": ["é", "漢", "ab", "\n"], r"(?i)straße": ["STRASSE", "STRAßE"],
    r"(?s).\n?": ["\n", "a\n"], r"a$": ["a", "a\n"], r"[^a-c]+": ["xyz", "abc", "é"], r"[]a]+": ["]a", "b"],
    r"\s+": [" \t\n", "\x0b"], r"[\s]\S[^\S]": [" x ", " \x0b "], r"\v\x41\x{e9}\101": ["\x0bAéA"],
    r"\Qa.b\E+": ["a.b", "a.bb", "axb"], r"(?P<n>a)(?:b)": ["ab", "a"], r"[[:alpha:]]+": ["abc", "a1"], r"\pL+": ["aé漢", "1"], r"\p{Greek}{2}": ["λμ", "λ", "ab"],
    r"^ab?\z": ["a", "ab"], r"[a\]b]+": ["a]b"], r"(?U)a+?": ["aaa"], r"a**?": [],
}


def test_regex():
    nodes = Nodes(20)
    patterns = {p: s for p, s in MATCHES.items() if s}
    for pattern, strings in patterns.items():
        python = {r"a$": r"a\Z", r"\Qa.b\E+": r"a\.b+", r"[[:alpha:]]+": "[a-zA-Z]+", r"\pL+": "[aé漢]+", r"\p{Greek}{2}": "[λμ]{2}",
                  r"\v\x41\x{e9}\101": "\x0bAéA", r"(?U)a+?": "a+", r"x{,2}": r"x\{,2\}", r"a{": r"a\{", r"\s+": r"[\t\n\f\r ]+",
                  r"^ab?\z": "ab?", r"[\s]\S[^\S]": r"[\t\n\f\r ][^\t\n\f\r ][\t\n\f\r ]"}.get(pattern, pattern)
        if pattern in (r"(a*)*b", r"(\w+\s?)+!"):  # Python would take for ever
            want = [s.endswith(("b", "!")) for s in strings]
        else:
            want = [re.fullmatch(python, s, re.ASCII if r"\w" in python or r"\d" in python else 0) is not None for s in strings]
        nodes.add("RegexFullMatch", [words(*strings)], [np.array(want)], pattern=pattern)
    nodes.check()


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(?!a)", r"(?<=a)b", r"(a)\1", r"(?>a)", r"a*+", r"a**", r"(?P=n)", r"(?R)",
                                     r"(*UCP)a", r"\K", r"\R", r"\k<n>", r"a\Z", r"(a", r"[a", "a\\", r"[[:nope:]]", r"(?#x)a"])
def test_regex_refused(pattern):
    refuses(Nodes(20).add("RegexFullMatch", [words("a")], [np.array([True])], pattern=pattern), "pattern")


def tokens(strings, cut, least=1, mark=False):
    rows = [[t for t in cut(str(s)) if len(t) >= least] for s in strings.ravel()]
    most = max(map(len, rows), default=0)
    wide = most + 2 * mark if most else 0
    rows = [["\x02"] * mark + row + ["\x03"] * mark if most else [] for row in rows]
    return np.array([row + ["#"] * (wide - len(row)) for row in rows], object).reshape(*strings.shape, wide)


def between(*separators):
    def cut(s):
        parts = [s]
        for separator in separators:
            parts = [p for part in parts for p in re.split(separator, part)]
        return parts
    return cut


@pytest.mark.parametrize("mark", [0, 1])
@pytest.mark.parametrize("least", [1, 2])
def test_tokenizer(mark, least):
    x = words("the cat sat", "a  b,c", "", " x ", "\u00e9t\u00e9 \u65e5\u672c B1_x", "foo" * 50 + " " + "ab" * 200)
    cases = [({"tokenexp": r"[a-zA-Z0-9_]+"}, lambda s: re.findall(r"[a-zA-Z0-9_]+", s)),
             ({"tokenexp": r"a|at|cat"}, lambda s: re.findall(r"cat|at|a", s)),  # the longest, not the first
             ({"tokenexp": r"\b\w\w+\b"}, lambda s: re.findall(r"(?a)\b\w\w+\b", s)),
             ({"tokenexp": r"b*"}, lambda s: re.findall(r"b+", s)), ({"tokenexp": r"^[ta]"}, lambda s: re.findall(r"^[ta]", s)),
             ({"separators": [" "]}, between(" ")), ({"separators": ["[ ,]+", "t"]}, between("[ ,]+", "t")),
             ({"separators": [" ", "^a"]}, between(" ", "^a"))]
    if least == 1:
        cases += [({"separators": [""]}, list), ({"tokenexp": "."}, list)]
    nodes = Nodes(1, "com.microsoft")
    for attrs, cut in cases:
        for given in x, x.reshape(2, 3), x[2:3], words("x")[:, None], np.zeros((0,), object):
            nodes.add("Tokenizer", [given], [tokens(given, cut, least, bool(mark))], mark=mark, pad_value="#",
                      mincharnum=least, **attrs)
    nodes.check()


@pytest.mark.parametrize("attrs", [{"mincharnum": 0, "tokenexp": "a"}, {"mincharnum": 1}, {"mincharnum": 1, "tokenexp": "(a"},
                                   {"mincharnum": 1, "separators": ["a", ""]}])
def test_tokenizer_refused(attrs):
    refuses(Nodes(1, "com.microsoft").add("Tokenizer", [words("a")], [words("a")], mark=0, pad_value="", **attrs), "")


def test_tokenizer_does_not_hang():
    node = Nodes(1, "com.microsoft").add("Tokenizer", [words("a" * 200000)], [words("a")], mark=0, pad_value="", mincharnum=1,
                                         tokenexp="a*b")
    refuses(node, "too long")


def test_murmur_hash():  # as ONNX Runtime 1.31.1 has them
    strings = words("", "a", "hello", "abcd", "h\u00e9llo \u65e5\u672c")
    nodes = Nodes(1, "com.microsoft")
    nodes.add("MurmurHash3", [strings], [np.array([0, 1009084850, 613153351, 1139631978, 71961949], np.int32)], positive=0)
    nodes.add("MurmurHash3", [strings], [np.array([415870660, 3990715943, 3592436587, 1425861819, 3873527645], np.uint32)], seed=7)
    nodes.add("MurmurHash3", [np.array([0, -1, 2 ** 40])], [np.array([3046355197, 4291035823, 2061093305], np.uint32)], seed=7)
    nodes.check()
    refuses(Nodes(1, "com.microsoft").add("MurmurHash3", [np.float32([1])], [np.uint32([0])]), "float")


def ngrams(row, pool, low, high, skips):
    """Counts of the n-grams of a pool, which is a list of tuples."""
    seen = collections.Counter()
    for n in range(low, high + 1):
        for step in range(1, skips + 2) if n > 1 else [1]:
            for at in range(len(row) - (n - 1) * step):
                seen[tuple(row[at:at + n * step:step])] += 1
    return [seen[g] for g in pool]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("low,high,skips", [(1, 1, 0), (1, 3, 0), (2, 2, 4), (1, 2, 5), (2, 3, 1), (1, 3, 100)])
def test_tfidf(text, low, high, skips):
    items = words("ä", "b", "c", "dd") if text else np.array([3, -1, 7, 1 << 40])
    x = items[RNG.integers(0, 4, (5, 20))]
    pool = [list(dict.fromkeys(tuple(items[RNG.integers(0, 4, n)]) for _ in range(6))) for n in (1, 2, 3)]
    flat = [g for p in pool for g in p]
    columns = RNG.permutation(len(flat))
    weights = RNG.uniform(.5, 2, len(flat)).astype(F32)
    counts = np.zeros((len(x), len(flat)), F32)
    for i, row in enumerate(x):
        found = ngrams(row, flat, low, high, skips)
        for g, c, n in zip(flat, columns, found):
            if low <= len(g) <= high:
                counts[i, c] = n
    starts = np.cumsum([0] + [n * len(p) for n, p in zip((1, 2, 3), pool)])[:3]
    attrs = {"ngram_counts": starts, "ngram_indexes": columns, "min_gram_length": low, "max_gram_length": high,
             "max_skip_count": skips, ("pool_strings" if text else "pool_int64s"): [v for g in flat for v in g]}
    nodes = Nodes(9)
    nodes.add("TfIdfVectorizer", [x], [counts], mode="TF", **attrs).add("TfIdfVectorizer", [x[0]], [counts[0]], mode="TF", **attrs)
    nodes.add("TfIdfVectorizer", [x], [np.minimum(counts, 1)], mode="IDF", **attrs)
    nodes.add("TfIdfVectorizer", [x], [np.minimum(counts, 1) * weights], mode="IDF", weights=weights, **attrs)
    nodes.add("TfIdfVectorizer", [x], [counts * weights], mode="TFIDF", weights=weights, **attrs)
    if not text:
        small = np.where(x > 100, 50, x).astype(np.int32)
        nodes.add("TfIdfVectorizer", [small], [lambda y: y.shape == counts.shape], mode="TF", **attrs)
    nodes.check(ulps=1)


def test_tfidf_refused():
    attrs = {"mode": "TF", "ngram_counts": [0], "ngram_indexes": [0, 1], "min_gram_length": 1, "max_gram_length": 1,
             "max_skip_count": 0, "pool_int64s": [1, 2]}
    x = np.array([1])
    for change, word in (({"ngram_indexes": [0]}, "ngram_indexes"), ({"ngram_counts": [0, 1, 1 << 40]}, "ngram_counts"),
                         ({"ngram_indexes": [-1, 0]}, "ngram_indexes"), ({"min_gram_length": 0}, "min_gram_length"),
                         ({"mode": "X"}, "mode"), ({"ngram_indexes": [1 << 60, 0]}, "memory|large|shape")):
        with pytest.raises(Failed, match=word):
            Nodes(9).add("TfIdfVectorizer", [x], [x], **(attrs | change)).run()
