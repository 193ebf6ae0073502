#include "ops/shared/equation.h"
#include "pass/ints.h"

/* Einsum in parts that have kernels: two operands at a time, in their order, each of them without dimensions
 * that are repeated or summed alone; and in an order of dimensions that makes one matrix product, or one
 * product element by element. What one operand alone needs is Einsum (a diagonal), ReduceSum and
 * Transpose. */

/* ---- terms ---- */

static int find(const ifd_term *t, int label) {
  for (int j = 0; j < t->n; j++)
    if (t->label[j] == label) return j;
  return -1;
}
static bool has(const ifd_term *t, int label) { return find(t, label) >= 0; }
static void append(ifd_term *t, int label) { t->label[t->n++] = label; }

static bool same_terms(const ifd_term *a, const ifd_term *b) {
  for (int j = 0; j < a->n && a->n == b->n; j++)
    if (a->label[j] != b->label[j]) return false;
  return a->n == b->n;
}

/* The labels of t that are in `in` or not, as asked, after those that are there. */
static void append_all(ifd_term *to, const ifd_term *t, const ifd_term *in, bool as) {
  for (int j = 0; j < t->n; j++)
    if (has(in, t->label[j]) == as && !has(to, t->label[j])) append(to, t->label[j]);
}

/* Labels of the ellipsis become letters that are not used. */
static bool name_ellipsis(ifd_equation *e) {
  int letter[IFD_LABELS], next = 0;
  bool used[IFD_LABELS] = {false};
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++) used[e->in[i].label[j]] = true;
  for (int l = 0; l < IFD_LABELS; l++) {
    letter[l] = l;
    if (l < IFD_LETTERS || !used[l]) continue;
    while (next < IFD_LETTERS && used[next]) next++;
    if (next == IFD_LETTERS) return false;
    letter[l] = next++;
  }
  for (int i = 0; i <= e->n; i++) {
    ifd_term *t = i < e->n ? &e->in[i] : &e->out;
    for (int j = 0; j < t->n; j++) t->label[j] = letter[t->label[j]];
  }
  return true;
}

/* ---- nodes ---- */

static ifd_status add_einsum(ifd_rewrite *rw, ifd_value **out, ifd_value *const *values, const ifd_term *in,
                             int n, const ifd_term *result) {
  ifd_node *node;
  char *text;
  ALLOC(ifd_rw_error(rw), text, ifd_new_array(ifd_rw_scratch(rw), char, ifd_equation_text_size(n)));
  ifd_equation_text(text, in, n, result);
  TRY(ifd_rw_add_node(rw, &node, "Einsum", values, n, 1));
  *out = node->outputs[0];
  return ifd_node_set_string(ifd_rw_error(rw), node, "equation", text);
}

static ifd_status add_sum(ifd_rewrite *rw, ifd_value **value, ifd_term *t, const ifd_term *result) {
  int64_t axes[IFD_MAX_RANK];
  ifd_term left = {0};
  ifd_node *node;
  int n = 0;
  for (int j = 0; j < t->n; j++)
    if (has(result, t->label[j]))
      append(&left, t->label[j]);
    else
      axes[n++] = j;
  if (n == 0) return IFD_OK;
  TRY(ifd_ints_add_node(rw, &node, "ReduceSum", *value, "axes", axes, n, 1));
  *value = node->outputs[0], *t = left;
  return ifd_node_set_int(ifd_rw_error(rw), node, "keepdims", 0);
}

static ifd_status add_transpose(ifd_rewrite *rw, ifd_value **value, const ifd_term *t,
                                const ifd_term *result) {
  int64_t perm[IFD_MAX_RANK];
  ifd_node *node;
  if (same_terms(t, result)) return IFD_OK;
  for (int j = 0; j < t->n; j++) perm[j] = find(t, result->label[j]);
  TRY(ifd_rw_add_node(rw, &node, "Transpose", value, 1, 1));
  *value = node->outputs[0];
  return ifd_node_set_ints(ifd_rw_error(rw), node, "perm", perm, t->n);
}

/* *value, which has the dimensions of t, as one of those of `result`. */
static ifd_status rearrange(ifd_rewrite *rw, ifd_value **value, const ifd_term *t, const ifd_term *result) {
  ifd_term now = {0};
  append_all(&now, t, t, true);
  if (now.n != t->n) TRY(add_einsum(rw, value, value, t, 1, &now));
  TRY(add_sum(rw, value, &now, result));
  return add_transpose(rw, value, &now, result);
}

/* ---- two operands ---- */

/* Labels that both operands have: of the output (batch), or summed. The others are rows of a, columns of
 * b. */
typedef struct roles {
  ifd_term batch, sum, rows, columns;
} roles;

static roles roles_of(const ifd_term *a, const ifd_term *b, const ifd_term *out) {
  roles r = {0};
  for (int j = 0; j < out->n; j++) {
    int l = out->label[j];
    append(has(a, l) && has(b, l) ? &r.batch : has(a, l) ? &r.rows : &r.columns, l);
  }
  append_all(&r.sum, b, out, false);
  return r;
}

/* Whether the labels stand side by side in t, in this order. */
static bool together(const ifd_term *labels, const ifd_term *t) {
  int first = labels->n ? find(t, labels->label[0]) : 0;
  for (int j = 1; j < labels->n; j++)
    if (find(t, labels->label[j]) != first + j) return false;
  return true;
}

static bool in_order(const ifd_term *t, const ifd_term *out) {
  for (int j = 1; j < t->n; j++)
    if (find(out, t->label[j]) < find(out, t->label[j - 1])) return false;
  return true;
}

/* The orders of dimensions in which the operands are multiplied, and of the product. */
static void arrange(const ifd_term in[2], const ifd_term *out, ifd_term to[2], ifd_term *product) {
  const roles r = roles_of(&in[0], &in[1], out);
  to[0] = in[0], to[1] = in[1], *product = *out;
  if (r.sum.n == 0) {
    for (int i = 0; i < 2; i++) {
      if (in_order(&in[i], out)) continue;
      to[i].n = 0;
      append_all(&to[i], out, &in[i], true);
    }
    return;
  }
  if (r.rows.n == 0 && r.columns.n == 0) { /* element by element, summed after */
    to[1] = *product = in[0];
    return;
  }
  bool ends_well = out->n == 0 || !has(&r.batch, out->label[out->n - 1]) || out->n == r.batch.n;
  if (ends_well && together(&r.sum, &in[0]) && together(&r.sum, &in[1])) return;
  const ifd_term *const orders[3][3] = {
      {&r.batch, &r.rows, &r.sum}, {&r.batch, &r.sum, &r.columns}, {&r.batch, &r.rows, &r.columns}};
  ifd_term *const made[] = {&to[0], &to[1], product};
  for (int i = 0; i < 3; i++) {
    made[i]->n = 0;
    for (int k = 0; k < 3; k++) append_all(made[i], orders[i][k], orders[i][k], true);
  }
}

/* What is left of a term that is neither repeated nor summed alone. */
static ifd_term needed(const ifd_term *t, const ifd_term *other, const ifd_term *out) {
  ifd_term r = {0};
  for (int j = 0; j < t->n; j++)
    if ((has(out, t->label[j]) || has(other, t->label[j])) && !has(&r, t->label[j])) append(&r, t->label[j]);
  return r;
}

static ifd_status multiply(ifd_rewrite *rw, ifd_value **result, ifd_value *const *values,
                           const ifd_term *terms, const ifd_term *out) {
  ifd_value *v[] = {values[0], values[1]};
  const ifd_term in[] = {needed(&terms[0], &terms[1], out), needed(&terms[1], &terms[0], out)};
  ifd_term to[2], product;
  arrange(in, out, to, &product);
  for (int i = 0; i < 2; i++) TRY(rearrange(rw, &v[i], &terms[i], &to[i]));
  TRY(add_einsum(rw, result, v, to, 2, &product));
  return rearrange(rw, result, &product, out);
}

/* ---- the rule ---- */

/* The dimensions of the first two operands that the output or a later operand has. */
static ifd_term kept(const ifd_equation *e) {
  ifd_term later = e->out, r = {0};
  for (int i = 2; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++)
      if (!has(&later, e->in[i].label[j])) append(&later, e->in[i].label[j]);
  for (int i = 0; i < 2; i++) append_all(&r, &e->in[i], &later, true);
  return r;
}

static bool parse(ifd_rewrite *rw, const ifd_node *node, ifd_equation *e) {
  ifd_error ignored = {0};
  int rank[IFD_EQUATION_OPERANDS];
  if (node->n_inputs < 1 || node->n_inputs > IFD_EQUATION_OPERANDS) return false;
  for (int i = 0; i < node->n_inputs; i++) {
    rank[i] = node->inputs[i] ? ifd_rw_rank(rw, node->inputs[i]) : -1;
    if (rank[i] < 0) return false;
  }
  return ifd_equation_parse(&ignored, e, node, node->n_inputs, rank) == IFD_OK && name_ellipsis(e);
}

/* The first two operands become one. */
static ifd_status join_two(ifd_rewrite *rw, ifd_node *node, const ifd_equation *e) {
  ifd_value *values[IFD_EQUATION_OPERANDS], *made;
  ifd_equation rest = {.n = e->n - 1, .out = e->out};
  const ifd_term left = kept(e);
  TRY(add_einsum(rw, &values[0], node->inputs, e->in, 2, &left));
  rest.in[0] = left;
  for (int i = 1; i < rest.n; i++) rest.in[i] = e->in[i + 1], values[i] = node->inputs[i + 1];
  TRY(add_einsum(rw, &made, values, rest.in, rest.n, &rest.out));
  return ifd_rw_replace(rw, node->outputs[0], made);
}

/* Whether kernels take it as it is. */
static bool is_plain(const ifd_equation *e) {
  ifd_term to[2], product;
  if (e->n == 1) { /* a copy, or a diagonal */
    bool repeats = false, sums = false;
    for (int j = 0; j < e->in[0].n; j++) {
      repeats |= find(&e->in[0], e->in[0].label[j]) != j;
      sums |= !has(&e->out, e->in[0].label[j]);
    }
    return !sums && (repeats || same_terms(&e->in[0], &e->out));
  }
  for (int i = 0; i < 2; i++) {
    const ifd_term t = needed(&e->in[i], &e->in[!i], &e->out);
    if (!same_terms(&t, &e->in[i])) return false;
  }
  arrange(e->in, &e->out, to, &product);
  return same_terms(&to[0], &e->in[0]) && same_terms(&to[1], &e->in[1]) && same_terms(&product, &e->out);
}

static ifd_status split(ifd_rewrite *rw, ifd_node *node) {
  ifd_equation e;
  if (!parse(rw, node, &e)) return ifd_rw_refuse(rw, "the ranks of its inputs are not known");
  ifd_dtype t = ifd_rw_dtype(rw, node->inputs[0]);
  if (t != IFD_FLOAT && t != IFD_DOUBLE && t != IFD_INT64 && t != IFD_INT32)
    return ifd_rw_refuse(rw, "it would be rounded between its parts");
  if (e.n > 2) return join_two(rw, node, &e);
  if (is_plain(&e)) return IFD_OK;
  ifd_value *made = node->inputs[0];
  if (e.n == 1)
    TRY(rearrange(rw, &made, &e.in[0], &e.out));
  else
    TRY(multiply(rw, &made, node->inputs, e.in, &e.out));
  return ifd_rw_replace(rw, node->outputs[0], made);
}

const ifd_pass ifd_pass_split_einsum = {
    .summary = "takes Einsum apart into products, sums and transpositions",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"Einsum", IFD_REASSOCIATES, split}, {0}},
};
