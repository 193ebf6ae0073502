/* RegexFullMatch; and com.microsoft.Tokenizer, which scikit-learn's text features become, as ONNX Runtime's
 * documentation of its operators has it, and as it does: the longest match counts, and there are no marks
 * where there is no token at all. */
#include "ops/shared/regex.h"

#include <string.h>

#include "ops/shared/move.h"

/* ---- RegexFullMatch ---- */

static ifd_status match_all(ifd_eval *x, ifd_regex *regex, ifd_tensor *out) {
  const ifd_str *s = ifd_eval_in(x, 0)->data;
  for (int64_t i = 0; i < ifd_tensor_count(out); i++) {
    bool matches;
    TRY(ifd_regex_matches(x->err, regex, s[i], &matches));
    ((uint8_t *)out->data)[i] = matches;
  }
  return IFD_OK;
}

static ifd_status eval_RegexFullMatch(ifd_eval *x) {
  ifd_tensor *out;
  ifd_regex *regex;
  EXPECT(x->err, ifd_node_find_attr(x->node, "pattern"), BAD_MODEL, "attribute pattern is missing");
  TRY(ifd_eval_out(x, &out, 0, IFD_BOOL, &ifd_eval_in(x, 0)->shape));
  ifd_status status =
      ifd_regex_new(x->err, &regex, x->scratch, ifd_node_string(x->node, "pattern", ""), "pattern");
  if (status == IFD_OK) status = match_all(x, regex, out);
  ifd_regex_free(regex);
  return status;
}

/* ---- Tokenizer ---- */

typedef struct tokenizer {
  ifd_eval *x;
  ifd_regex **regexes; /* separators, or what tokens match */
  int n;
  bool by_character, separates;
  int64_t least;        /* characters of a token */
  IFD_VEC(ifd_str) all; /* tokens of all strings, one after the other */
} tokenizer;

static ifd_status keep(tokenizer *t, const char *s, size_t len) {
  int64_t n = 0;
  for (size_t i = 0; i < len; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
  if (n >= t->least) IFD_PUSH(t->x->err, t->x->scratch, &t->all, ((ifd_str){s, len}));
  return IFD_OK;
}

static ifd_status keep_characters(tokenizer *t, ifd_str s) {
  for (size_t from = 0, to; from < s.len; from = to) {
    for (to = from + 1; to < s.len && ((unsigned char)s.s[to] & 0xc0) == 0x80;) to++;
    TRY(keep(t, s.s + from, to - from));
  }
  return IFD_OK;
}

static ifd_status keep_matches(tokenizer *t, ifd_str s) {
  for (size_t start, end = 0; end < s.len;) {
    TRY(ifd_regex_find(t->x->err, t->regexes[0], s, end, &start, &end));
    TRY(keep(t, s.s + start, end - start));
  }
  return IFD_OK;
}

/* What is left between the first separators is cut by the next one. */
static ifd_status keep_between(tokenizer *t, ifd_str s, int separator) {
  if (separator == t->n) return keep(t, s.s, s.len);
  for (size_t from = 0, start, end; from < s.len; from = end) {
    TRY(ifd_regex_find(t->x->err, t->regexes[separator], s, from, &start, &end));
    TRY(keep_between(t, (ifd_str){s.s + from, start - from}, separator + 1));
  }
  return IFD_OK;
}

static ifd_status cut(tokenizer *t, ifd_str s) {
  if (t->by_character) return keep_characters(t, s);
  return t->separates ? keep_between(t, s, 0) : keep_matches(t, s);
}

static ifd_status read_tokenizer(tokenizer *t) {
  enum { MOST_SEPARATORS = 1000 }; /* they nest */
  ifd_eval *x = t->x;
  const ifd_attr *separators = ifd_node_find_attr(x->node, "separators");
  ifd_str pattern = ifd_node_string(x->node, "tokenexp", "");
  t->separates = separators && separators->type == IFD_ATTR_STRINGS && separators->n;
  t->least = ifd_node_int(x->node, "mincharnum", 0);
  t->by_character = t->separates && separators->n == 1 && !separators->strings[0].len;
  EXPECT(x->err, t->least > 0, BAD_MODEL, "attribute mincharnum is not above 0");
  EXPECT(x->err, t->separates || pattern.len, BAD_MODEL, "attributes separators and tokenexp are missing");
  EXPECT(x->err, !t->separates || separators->n <= MOST_SEPARATORS, LIMIT, "more than %d separators",
         MOST_SEPARATORS);
  int n = t->by_character ? 0 : t->separates ? separators->n : 1;
  ALLOC(x->err, t->regexes, ifd_new_array(x->scratch, ifd_regex *, n));
  while (t->n < n) {
    ifd_str text = t->separates ? separators->strings[t->n] : pattern;
    EXPECT(x->err, text.len, UNSUPPORTED, "an empty separator among others");
    TRY(ifd_regex_new(x->err, &t->regexes[t->n++], x->scratch, text,
                      t->separates ? "separators" : "tokenexp"));
  }
  return IFD_OK;
}

/* Rows of `most` strings: between marks, where they are wanted, the tokens of each string, then padding. */
static ifd_status put_tokens(tokenizer *t, const int *first, int64_t n, int64_t most, bool marks) {
  static const ifd_str begin = {"\x02", 1}, end = {"\x03", 1};
  const ifd_tensor *in = ifd_eval_in(t->x, 0);
  ifd_str pad = ifd_node_string(t->x->node, "pad_value", ""), *to;
  ifd_shape shape = in->shape;
  ifd_tensor *out;
  shape.dim[shape.rank++] = most ? most + 2 * marks : 0;
  TRY(ifd_eval_out(t->x, &out, 0, IFD_STRING, &shape));
  to = out->data;
  for (int64_t i = 0; i < n && most; i++) {
    const ifd_str *stop = to + most + 2 * marks;
    if (marks) *to++ = begin;
    for (int k = first[i]; k < first[i + 1]; k++) *to++ = t->all.v[k];
    if (marks) *to++ = end;
    while (to < stop) *to++ = pad;
  }
  return IFD_OK;
}

static ifd_status tokenize(tokenizer *t) {
  ifd_eval *x = t->x;
  const ifd_tensor *in = ifd_eval_in(x, 0);
  int64_t n = ifd_tensor_count(in), most = 0;
  int *first;
  EXPECT(x->err, in->shape.rank == 1 || in->shape.rank == 2, BAD_INPUT,
         "the input is neither [C] nor [N, C]");
  TRY(read_tokenizer(t));
  ALLOC(x->err, first, ifd_new_array(x->scratch, int, n + 1));
  for (int64_t i = 0; i < n; i++) {
    TRY(cut(t, ((const ifd_str *)in->data)[i]));
    first[i + 1] = t->all.n;
    most = ifd_max_i64(most, t->all.n - first[i]);
  }
  return put_tokens(t, first, n, most, ifd_node_int(x->node, "mark", 0) != 0);
}

static ifd_status eval_Tokenizer(ifd_eval *x) {
  tokenizer t = {.x = x};
  ifd_status status = tokenize(&t);
  for (int i = 0; i < t.n; i++) ifd_regex_free(t.regexes[i]);
  return status;
}

static ifd_status infer_Tokenizer(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0);
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_STRING);
  EXPECT(x->err, rank == 1 || rank == 2, BAD_MODEL, "the input has rank %d, not 1 or 2", rank);
  ifd_dim dims[3];
  for (int i = 0; i < rank; i++) dims[i] = ifd_infer_dim(x, 0, i);
  dims[rank] = ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, IFD_STRING, rank + 1, dims);
}

const ifd_op ifd_ops_regex[] = {
    {.name = "RegexFullMatch", .since = 20, .infer = ifd_infer_bool_like_first, .eval = eval_RegexFullMatch},
    {.name = "Tokenizer",
     .domain = "com.microsoft",
     .since = 1,
     .infer = infer_Tokenizer,
     .eval = eval_Tokenizer},
    {0}};
