/* StringConcat, StringSplit, StringNormalizer. Text is UTF-8; upper and lower case are Unicode's, whatever
 * locales the machine has. */
#include <string.h>

#include "ops/shared/move.h"
#include "ops/shared/utf8.h"
#include "ops/shared/walk.h"

static bool same(ifd_str a, ifd_str b) { return a.len == b.len && (a.len == 0 || !memcmp(a.s, b.s, a.len)); }

/* ---- StringConcat ---- */

static ifd_status join(ifd_eval *x, ifd_str *out, ifd_str a, ifd_str b) {
  size_t len;
  char *s;
  EXPECT(x->err, ifd_add_size(&len, a.len, b.len), LIMIT, "a string is longer than memory");
  ALLOC(x->err, s, ifd_arena_alloc(x->scratch, len));
  if (a.len) memcpy(s, a.s, a.len);
  if (b.len) memcpy(s + a.len, b.s, b.len);
  *out = (ifd_str){s, len};
  return IFD_OK;
}

static ifd_status eval_StringConcat(ifd_eval *x) {
  const ifd_tensor *a = ifd_eval_in(x, 0), *b = ifd_eval_in(x, 1);
  const ifd_str *from_a = a->data, *from_b = b->data;
  ifd_shape shape;
  ifd_tensor *out;
  TRY(ifd_shape_broadcast(x->err, &shape, &a->shape, &b->shape));
  TRY(ifd_eval_out(x, &out, 0, IFD_STRING, &shape));
  ifd_walk w = ifd_walk_over(&shape);
  ifd_walk_add_shape(&w, &a->shape);
  ifd_walk_add_shape(&w, &b->shape);
  ifd_str *to = out->data;
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++)
      TRY(join(x, to++, from_a[w.offset[0] + i * w.step[0]], from_b[w.offset[1] + i * w.step[1]]));
  return IFD_OK;
}

static ifd_status infer_StringConcat(ifd_infer *x) { return ifd_infer_broadcast(x, 0, IFD_STRING, 0, 1); }

/* ---- StringSplit ---- */

typedef struct splitter {
  ifd_str delimiter; /* empty: runs of white space, none at the ends */
  int64_t most;      /* splits */
} splitter;

/* The part of `rest` before the next delimiter; *rest is what comes after it, with s NULL at the end. */
static ifd_str cut_at_delimiter(const splitter *p, ifd_str *rest, bool whole) {
  const char *found = whole ? NULL : memmem(rest->s, rest->len, p->delimiter.s, p->delimiter.len);
  ifd_str part = {rest->s, found ? (size_t)(found - rest->s) : rest->len};
  size_t used = part.len + p->delimiter.len;
  *rest = found ? (ifd_str){rest->s + used, rest->len - used} : (ifd_str){0};
  return part;
}

static ifd_str skip_space(ifd_str s) {
  for (size_t n; s.len && (n = ifd_utf8_space(s));) s = (ifd_str){s.s + n, s.len - n};
  return s;
}

/* rest does not begin with white space. */
static ifd_str cut_at_space(ifd_str *rest, bool whole) {
  size_t len = 0;
  while (len < rest->len && (whole || !ifd_utf8_space((ifd_str){rest->s + len, rest->len - len}))) len++;
  ifd_str part = {rest->s, len};
  *rest = skip_space((ifd_str){rest->s + len, rest->len - len});
  return part;
}

/* How many parts s has; they go to `out` where it is not NULL. */
static int64_t split(const splitter *p, ifd_str s, ifd_str *out) {
  static const char nothing[] = "";
  int64_t n = 0;
  bool spaces = p->delimiter.len == 0;
  if (!s.s) s.s = nothing;
  if (spaces) s = skip_space(s);
  while (spaces ? s.len > 0 : s.s != NULL) {
    bool whole = n == p->most;
    ifd_str part = spaces ? cut_at_space(&s, whole) : cut_at_delimiter(p, &s, whole);
    if (out) out[n] = part;
    n++;
  }
  return n;
}

static ifd_status eval_StringSplit(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  splitter p = {ifd_node_string(x->node, "delimiter", ""), ifd_node_int(x->node, "maxsplit", -1)};
  ifd_shape shape = in->shape;
  ifd_tensor *parts, *counts;
  int64_t n = ifd_tensor_count(in), most = 0;
  EXPECT(x->err, shape.rank < IFD_MAX_RANK, UNSUPPORTED, "an output of more than %d dimensions",
         IFD_MAX_RANK);
  const ifd_str *s = in->data;
  for (int64_t i = 0; i < n; i++) most = ifd_max_i64(most, split(&p, s[i], NULL));
  shape.dim[shape.rank++] = most;
  TRY(ifd_eval_out(x, &parts, 0, IFD_STRING, &shape));
  ifd_fill(parts, NULL);
  for (int64_t i = 0; i < n; i++) (void)split(&p, s[i], (ifd_str *)parts->data + i * most);
  if (!ifd_eval_wants(x, 1)) return IFD_OK;
  TRY(ifd_eval_out(x, &counts, 1, IFD_INT64, &in->shape));
  for (int64_t i = 0; i < n; i++) ((int64_t *)counts->data)[i] = split(&p, s[i], NULL);
  return IFD_OK;
}

static ifd_status infer_StringSplit(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0);
  ifd_dim dims[IFD_MAX_RANK + 1];
  TRY(ifd_infer_same_as(x, 1, 0, IFD_INT64));
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_STRING);
  for (int i = 0; i < rank; i++) dims[i] = ifd_infer_dim(x, 0, i);
  dims[rank] = ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, IFD_STRING, rank + 1, dims);
}

/* ---- StringNormalizer ---- */

typedef struct normalizer {
  ifd_utf8_case to;
  bool is_sensitive;
  int n_stopwords;
  ifd_str *stopwords; /* folded unless is_sensitive */
} normalizer;

static ifd_status read_case(ifd_eval *x, ifd_utf8_case *out) {
  static const char *const names[] = {"NONE", "LOWER", "UPPER"};
  static const ifd_utf8_case cases[] = {IFD_UTF8_AS_IS, IFD_UTF8_LOWER, IFD_UTF8_UPPER};
  for (int i = 0; i < 3; i++)
    if (ifd_node_string_is(x->node, "case_change_action", "NONE", names[i])) {
      *out = cases[i];
      return IFD_OK;
    }
  FAIL(x->err, BAD_MODEL, "attribute case_change_action is not NONE, LOWER or UPPER");
}

static ifd_status read_normalizer(ifd_eval *x, normalizer *z) {
  const ifd_attr *words = ifd_node_find_attr(x->node, "stopwords");
  *z = (normalizer){.is_sensitive = ifd_node_int(x->node, "is_case_sensitive", 0) != 0,
                    .n_stopwords = words && words->type == IFD_ATTR_STRINGS ? words->n : 0};
  TRY(read_case(x, &z->to));
  ALLOC(x->err, z->stopwords, ifd_new_array(x->scratch, ifd_str, z->n_stopwords));
  ifd_utf8_case fold = z->is_sensitive ? IFD_UTF8_AS_IS : IFD_UTF8_FOLD;
  for (int i = 0; i < z->n_stopwords; i++)
    TRY(ifd_utf8_map(x->err, &z->stopwords[i], x->scratch, words->strings[i], fold, (ifd_str){0}));
  return IFD_OK;
}

static ifd_status is_stopword(ifd_eval *x, const normalizer *z, ifd_str s, bool *out) {
  *out = false;
  if (z->n_stopwords == 0) return IFD_OK;
  if (!z->is_sensitive) TRY(ifd_utf8_map(x->err, &s, x->scratch, s, IFD_UTF8_FOLD, (ifd_str){0}));
  for (int i = 0; i < z->n_stopwords && !*out; i++) *out = same(s, z->stopwords[i]);
  return IFD_OK;
}

/* Stop words are told apart before the case changes. Where nothing is left there is one empty string. */
static ifd_status eval_StringNormalizer(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const ifd_str *s = in->data, locale = ifd_node_string(x->node, "locale", "");
  ifd_shape shape = in->shape;
  ifd_tensor *out;
  normalizer z;
  ifd_str *kept;
  int64_t n = ifd_tensor_count(in), n_kept = 0;
  EXPECT(x->err, shape.rank == 1 || (shape.rank == 2 && shape.dim[0] == 1), BAD_INPUT,
         "the input is neither [C] nor [1, C]");
  TRY(read_normalizer(x, &z));
  ALLOC(x->err, kept, ifd_new_array(x->scratch, ifd_str, n + 1));
  for (int64_t i = 0; i < n; i++) {
    bool stop;
    TRY(is_stopword(x, &z, s[i], &stop));
    if (!stop) TRY(ifd_utf8_map(x->err, &kept[n_kept++], x->scratch, s[i], z.to, locale));
  }
  shape.dim[shape.rank - 1] = ifd_max_i64(n_kept, 1);
  TRY(ifd_eval_out(x, &out, 0, IFD_STRING, &shape));
  memcpy(out->data, kept, ifd_tensor_bytes(out));
  return IFD_OK;
}

static ifd_status infer_StringNormalizer(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_STRING);
  EXPECT(x->err, rank == 1 || rank == 2, BAD_MODEL, "the input has rank %d, not 1 or 2", rank);
  ifd_dim n = ifd_infer_dim(x, 0, rank - 1);
  if (ifd_node_find_attr(x->node, "stopwords")) n = ifd_dim_unknown(x->dims);
  const ifd_dim dims[] = {1, ifd_dim_max(x->dims, n, 1)};
  return ifd_infer_tensor(x, 0, IFD_STRING, rank, dims + 2 - rank);
}

#define ROW(name_, since_)                                                                                   \
  { .name = #name_, .since = since_, .infer = infer_##name_, .eval = eval_##name_ }
const ifd_op ifd_ops_string[] = {ROW(StringConcat, 20), ROW(StringSplit, 20), ROW(StringNormalizer, 10), {0}};
