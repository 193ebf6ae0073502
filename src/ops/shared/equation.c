#include "ops/shared/equation.h"

#include <string.h>

static int letter(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return 26 + c - 'a';
  return -1;
}

/* One term of the equation up to `stop` or its end; `rank` dimensions (-1: not known, as in the output), of
 * which the ellipsis takes those that have no letter, at most n_ellipsis. */
static ifd_status parse_term(ifd_error *err, const char **at, const char *end, int rank, int n_ellipsis,
                             ifd_term *t) {
  int letters = 0, dots = 0;
  for (const char *s = *at; s < end && *s != ',' && *s != '-'; s++)
    letters += letter(*s) >= 0, dots += *s == '.';
  EXPECT(err, dots == 0 || dots == 3, BAD_MODEL, "attribute equation: a term has more than one ellipsis");
  int covered = dots == 0 ? 0 : rank < 0 ? n_ellipsis : rank - letters;
  EXPECT(err, rank < 0 || (covered >= 0 && letters + covered == rank), BAD_MODEL,
         "attribute equation: a term of %d letters for an input of rank %d", letters, rank);
  EXPECT(err, covered <= n_ellipsis && letters + covered <= IFD_MAX_RANK, BAD_MODEL,
         "attribute equation: a term has too many dimensions");
  t->n = 0;
  for (; *at < end && **at != ',' && **at != '-'; ++*at) {
    if (**at == ' ') continue;
    if (end - *at >= 3 && memcmp(*at, "...", 3) == 0) {
      for (int i = 0; i < covered; i++) t->label[t->n++] = IFD_LETTERS + n_ellipsis - covered + i;
      *at += 2;
      continue;
    }
    EXPECT(err, letter(**at) >= 0, BAD_MODEL, "attribute equation: character 0x%02x", (unsigned char)**at);
    t->label[t->n++] = letter(**at);
  }
  return IFD_OK;
}

/* Dimensions that an ellipsis stands for at most, over all operands. */
static int ellipsis_size(const char *s, const char *end, int n, const int *rank) {
  int most = 0;
  for (int i = 0; i < n; i++, s++) {
    int letters = 0;
    bool dots = false;
    for (; s < end && *s != ',' && *s != '-'; s++) letters += letter(*s) >= 0, dots |= *s == '.';
    if (dots && rank[i] - letters > most) most = rank[i] - letters;
  }
  return most;
}

/* Without "->": the ellipsis, then the letters that occur once, in ASCII order. */
static ifd_status implicit_output(ifd_error *err, ifd_equation *e, int n_ellipsis) {
  int uses[IFD_LABELS] = {0};
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++) uses[e->in[i].label[j]]++;
  e->out.n = 0;
  for (int i = 0; i < n_ellipsis; i++) e->out.label[e->out.n++] = IFD_LETTERS + i;
  for (int i = 0; i < IFD_LETTERS; i++)
    if (uses[i] == 1) e->out.label[e->out.n++] = i;
  EXPECT(err, e->out.n <= IFD_MAX_RANK, UNSUPPORTED, "the output would have rank %d", e->out.n);
  return IFD_OK;
}

static ifd_status check_output(ifd_error *err, const ifd_equation *e) {
  bool known[IFD_LABELS] = {false}, taken[IFD_LABELS] = {false};
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++) known[e->in[i].label[j]] = true;
  for (int j = 0; j < e->out.n; j++) {
    int l = e->out.label[j];
    EXPECT(err, known[l] && !taken[l], BAD_MODEL, "attribute equation: the output names a dimension %s",
           known[l] ? "twice" : "that no input has");
    taken[l] = true;
  }
  return IFD_OK;
}

ifd_status ifd_equation_parse(ifd_error *err, ifd_equation *e, const ifd_node *node, int n, const int *rank) {
  ifd_str text = ifd_node_string(node, "equation", "");
  const char *at = text.s, *end = at + text.len;
  EXPECT(err, n >= 1 && n <= IFD_EQUATION_OPERANDS, UNSUPPORTED, "%d inputs; at most %d are supported", n,
         IFD_EQUATION_OPERANDS);
  for (int i = 0; i < n; i++) {
    EXPECT(err, node->inputs[i], BAD_MODEL, "input %d is missing", i);
    EXPECT(err, rank[i] <= IFD_MAX_RANK, UNSUPPORTED, "input %d has rank %d", i, rank[i]);
  }
  int n_ellipsis = ellipsis_size(at, end, n, rank);
  EXPECT(err, n_ellipsis <= IFD_MAX_RANK, BAD_MODEL, "attribute equation: an ellipsis of %d dimensions",
         n_ellipsis);
  e->n = n;
  for (int i = 0; i < n; i++) {
    TRY(parse_term(err, &at, end, rank[i], n_ellipsis, &e->in[i]));
    bool more = at < end && *at == ',';
    EXPECT(err, more == (i + 1 < n), BAD_MODEL, "attribute equation has not as many terms as inputs, %d", n);
    at += more;
  }
  if (at == end) return implicit_output(err, e, n_ellipsis);
  EXPECT(err, end - at >= 2 && at[1] == '>', BAD_MODEL, "attribute equation: '-' without '>'");
  at += 2;
  TRY(parse_term(err, &at, end, -1, n_ellipsis, &e->out));
  EXPECT(err, at == end, BAD_MODEL, "attribute equation: more than one output");
  return check_output(err, e);
}

void ifd_equation_text(char *out, const ifd_term *in, int n, const ifd_term *result) {
  for (int i = 0; i <= n; i++) {
    const ifd_term *t = i < n ? &in[i] : result;
    for (int j = 0; j < t->n; j++)
      *out++ = (char)(t->label[j] < 26 ? 'A' + t->label[j] : 'a' + t->label[j] - 26);
    if (i + 1 < n) *out++ = ',';
    if (i + 1 == n) *out++ = '-', *out++ = '>';
  }
  *out = 0;
}
