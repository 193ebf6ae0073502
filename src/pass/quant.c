#include "pass/quant.h"

#include <math.h>
#include <string.h>

#include "ops/shared/narrow.h"
#include "pass/manager.h"
#include "pass/match.h"
#include "pass/table.h"

/* ---- values ---- */

bool ifd_rw_is_one(ifd_rewrite *rw, const ifd_value *v) {
  if (!v) return true;
  int rank = ifd_rw_rank(rw, v);
  for (int i = 0; i < rank; i++)
    if (ifd_rw_dim(rw, v, i) != 1) return false;
  return rank == 0 || rank == 1;
}

bool ifd_rw_dequantized(ifd_rewrite *rw, const ifd_value *v, ifd_dequantized *d) {
  ifd_node *node = v ? ifd_rw_producer(v, "DequantizeLinear") : NULL;
  if (!node || ifd_node_int(node, "block_size", 0)) return false;
  *d = (ifd_dequantized){node, node->inputs[0], node->inputs[1], ifd_node_input(node, 2)};
  ifd_dtype t = ifd_rw_dtype(rw, d->q);
  return ifd_dtype_is_byte(t) && ifd_rw_dtype(rw, d->scale) == IFD_FLOAT &&
         ifd_rw_dtype(rw, v) == IFD_FLOAT && (!d->zero || ifd_rw_dtype(rw, d->zero) == t);
}

bool ifd_rw_dequantized_whole(ifd_rewrite *rw, const ifd_value *v, ifd_dequantized *d) {
  return ifd_rw_dequantized(rw, v, d) && ifd_rw_is_one(rw, d->scale) && ifd_rw_is_one(rw, d->zero);
}

bool ifd_rw_scales_along(ifd_rewrite *rw, const ifd_dequantized *d, int axis) {
  int rank = ifd_rw_rank(rw, d->q);
  if (rank < 0) return false;
  if (ifd_rw_is_one(rw, d->scale) && ifd_rw_is_one(rw, d->zero)) return true;
  int64_t along = ifd_node_int(d->node, "axis", 1);
  if ((along < 0 ? along + rank : along) != axis || ifd_rw_rank(rw, d->scale) != 1) return false;
  ifd_dim n = ifd_rw_dim(rw, d->q, axis);
  return ifd_rw_dim(rw, d->scale, 0) == n &&
         (!d->zero || (ifd_rw_rank(rw, d->zero) == 1 && ifd_rw_dim(rw, d->zero, 0) == n));
}

bool ifd_rw_same_content(ifd_rewrite *rw, const ifd_value *a, const ifd_value *b) {
  if (a == b) return true;
  const ifd_tensor *s = ifd_rw_constant(rw, a), *t = ifd_rw_constant(rw, b);
  if (!s || !t || s->dtype != t->dtype || ifd_tensor_count(s) != ifd_tensor_count(t)) return false;
  for (int64_t i = 0; i < ifd_tensor_count(s); i++)
    if (ifd_tensor_get_f64(s, i) != ifd_tensor_get_f64(t, i)) return false;
  return true;
}

/* ---- what follows a result ---- */

bool ifd_rw_clip_of(ifd_rewrite *rw, const ifd_node *node, float clip[2]) {
  double bound;
  clip[0] = -INFINITY, clip[1] = INFINITY;
  if (ifd_node_is(node, "Relu")) return clip[0] = 0, true;
  if (!ifd_node_is(node, "Clip")) return false;
  if (node->opset < 11) {
    clip[0] = ifd_node_float(node, "min", -INFINITY);
    clip[1] = ifd_node_float(node, "max", INFINITY);
  }
  for (int i = 1; i < 3 && node->opset >= 11; i++) {
    if (!ifd_node_has_input(node, i)) continue;
    if (!ifd_rw_scalar(rw, node->inputs[i], &bound)) return false;
    clip[i - 1] = (float)bound;
  }
  return clip[0] <= clip[1];
}

/* Whether the node quantizes v to bytes with one scale, of a type that its zero point shows. */
static bool quantizes(ifd_rewrite *rw, const ifd_node *node, const ifd_value *v) {
  int64_t precision = ifd_node_int(node, "precision", 0);
  ifd_dtype t = ifd_rw_dtype(rw, node->outputs[0]);
  return ifd_node_is(node, "QuantizeLinear") && node->inputs[0] == v && ifd_dtype_is_byte(t) &&
         !ifd_node_int(node, "block_size", 0) && (precision == 0 || precision == IFD_FLOAT) &&
         ifd_rw_dtype(rw, node->inputs[1]) == IFD_FLOAT && ifd_rw_is_one(rw, node->inputs[1]) &&
         ifd_rw_is_one(rw, ifd_node_input(node, 2)) && (ifd_node_has_input(node, 2) || t == IFD_UINT8);
}

static const ifd_node *sole_reader(const ifd_value *v) {
  const ifd_node *reader = ifd_value_only_reader(v);
  return reader && reader->graph == v->graph ? reader : NULL;
}

ifd_status ifd_rw_requantized(ifd_rewrite *rw, ifd_value *v, ifd_requantized *r) {
  *r = (ifd_requantized){.result = v};
  const ifd_node *reader = sole_reader(v);
  if (reader && ifd_rw_clip_of(rw, reader, r->clip)) {
    r->clipped = true;
    r->result = reader->outputs[0];
    reader = sole_reader(r->result);
  }
  if (!reader || !quantizes(rw, reader, r->result)) return IFD_OK;
  r->result = reader->outputs[0];
  r->scale = reader->inputs[1];
  r->zero = ifd_node_input(reader, 2);
  return IFD_OK;
}

ifd_status ifd_rw_set_clip(ifd_rewrite *rw, ifd_node *node, const ifd_requantized *r) {
  float *p;
  if (!r->clipped) return IFD_OK;
  ALLOC(ifd_rw_error(rw), p, ifd_arena_memdup(ifd_rw_arena(rw), r->clip, sizeof r->clip));
  return ifd_node_set_attr(ifd_rw_error(rw), node,
                           &(ifd_attr){.name = "clip", .type = IFD_ATTR_FLOATS, .n = 2, .floats = p});
}

/* ---- order of channels ---- */

static void order_of(int64_t *perm, int rank, bool last) {
  perm[0] = 0;
  for (int i = 1; i < rank; i++) perm[i] = last ? i + 1 : i - 1;
  perm[last ? rank - 1 : 1] = last ? 1 : rank - 1;
}

static ifd_status transpose(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank, bool last) {
  int64_t perm[IFD_MAX_RANK];
  ifd_node *node;
  order_of(perm, rank, last);
  TRY(ifd_rw_add_node(rw, &node, "Transpose", &x, 1, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, "perm", perm, rank));
  *out = node->outputs[0];
  return IFD_OK;
}

ifd_value *ifd_rw_find_channels_last(ifd_rewrite *rw, const ifd_value *x) {
  ifd_node *node = ifd_rw_producer(x, "Transpose");
  int rank = ifd_rw_rank(rw, x);
  const int64_t *perm;
  int64_t first[IFD_MAX_RANK];
  if (!node || rank < 3 || ifd_node_ints(node, "perm", &perm) != rank) return NULL;
  order_of(first, rank, false);
  return memcmp(perm, first, (size_t)rank * sizeof *perm) == 0 ? node->inputs[0] : NULL;
}

ifd_status ifd_rw_channels_last(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank) {
  *out = ifd_rw_find_channels_last(rw, x);
  return *out ? IFD_OK : transpose(rw, out, x, rank, true);
}

ifd_status ifd_rw_channels_first(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank) {
  return transpose(rw, out, x, rank, false);
}

/* ---- constants that stay quantized ---- */

static bool is_exchange(const ifd_node *transpose) {
  const int64_t *perm;
  int n = ifd_node_ints(transpose, "perm", &perm);
  return n == 0 || (n == 2 && perm[0] == 1);
}

/* Scales or zero points along the columns of a matrix, or by blocks of its rows. */
static bool fits_columns(const ifd_tensor *t, int64_t k, int64_t n, const ifd_narrow_product *p) {
  if (!p->block) return t->shape.rank < 2 && (ifd_tensor_count(t) == 1 || ifd_tensor_count(t) == n);
  return t->shape.rank == 2 && t->shape.dim[!p->turned] == n &&
         t->shape.dim[p->turned] == ifd_ceil_div(k, p->block);
}

static bool is_matrix(const ifd_tensor *t) {
  return t && t->shape.rank == 2 && ifd_tensor_count(t) >= IFD_NARROW_LEAST && ifd_narrow_is(t->dtype);
}

static bool find_halves(ifd_rewrite *rw, const ifd_value *b, ifd_narrow_product *p) {
  const ifd_node *node = ifd_rw_producer(b, "Cast");
  if (!node || ifd_rw_dtype(rw, b) != IFD_FLOAT || !ifd_dtype_is_half(ifd_rw_dtype(rw, node->inputs[0])))
    return false;
  p->q = node->inputs[0];
  return is_matrix(ifd_rw_constant(rw, p->q));
}

static bool find_integers(ifd_rewrite *rw, const ifd_value *b, ifd_narrow_product *p) {
  const ifd_node *node = ifd_rw_producer(b, "DequantizeLinear");
  if (!node) return false;
  p->q = node->inputs[0], p->scale = node->inputs[1], p->zero = ifd_node_input(node, 2);
  p->block = ifd_node_int(node, "block_size", 0);
  const ifd_tensor *q = ifd_rw_constant(rw, p->q), *scale = ifd_rw_constant(rw, p->scale),
                   *zero = ifd_rw_constant(rw, p->zero);
  if (!is_matrix(q) || !scale || !zero != !p->zero || scale->dtype != IFD_FLOAT ||
      ifd_rw_dtype(rw, node->outputs[0]) != IFD_FLOAT || (zero && zero->dtype != q->dtype))
    return false;
  int64_t axis = ifd_node_int(node, "axis", 1), columns = p->turned ? 0 : 1;
  if (axis < 0) axis += 2;
  bool along = ifd_tensor_count(scale) == 1 ? !p->block : p->block ? axis != columns : axis == columns;
  int64_t k = q->shape.dim[!columns], n = q->shape.dim[columns];
  return along && fits_columns(scale, k, n, p) && (!zero || fits_columns(zero, k, n, p));
}

static bool find_matrix(ifd_rewrite *rw, const ifd_value *b, ifd_narrow_product *p) {
  const ifd_node *turn = ifd_rw_producer(b, "Transpose");
  if (turn && !is_exchange(turn)) return false;
  if (turn) p->turned = !p->turned, b = turn->inputs[0];
  return find_integers(rw, b, p) || find_halves(rw, b, p);
}

bool ifd_rw_narrow_product(ifd_rewrite *rw, const ifd_node *node, ifd_narrow_product *out) {
  if (!ifd_rw_is_product(rw, node) || ifd_rw_dtype(rw, node->inputs[0]) != IFD_FLOAT) return false;
  *out = (ifd_narrow_product){.turned = ifd_node_int(node, "transB", 0), .bias = ifd_node_input(node, 2)};
  return find_matrix(rw, node->inputs[1], out);
}

bool ifd_rw_stays_half(ifd_rewrite *rw, const ifd_node *node, int input) {
  return input == 1 && ifd_rw_is_product(rw, node) && is_matrix(ifd_rw_constant(rw, node->inputs[1]));
}

static bool has_narrow_product(ifd_rewrite *rw, const ifd_value *v) {
  ifd_narrow_product p;
  for (int i = 0; i < v->uses.n; i++)
    if (v->uses.v[i].index == 1 && ifd_rw_narrow_product(rw, v->uses.v[i].node, &p)) return true;
  return false;
}

/* Whether a product reads the value, or its Transpose, so. */
static bool is_narrow(ifd_rewrite *rw, const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *reader = v->uses.v[i].node;
    if (ifd_node_is(reader, "Transpose") && has_narrow_product(rw, reader->outputs[0])) return true;
  }
  return has_narrow_product(rw, v);
}

bool ifd_rw_stays_narrow(ifd_rewrite *rw, const ifd_node *node) {
  static const char *const takers[] = {"Conv", "MatMul", "Gemm"};
  if (!ifd_rw_for_running(rw) || !ifd_node_is_any(node, "DequantizeLinear Cast")) return false;
  const ifd_value *v = node->outputs[0];
  if (is_narrow(rw, v) || ifd_rw_is_narrow_table(rw, v)) return true;
  if (ifd_node_is(node, "Cast") || !ifd_dtype_is_byte(ifd_rw_dtype(rw, node->inputs[0])) ||
      ifd_node_int(node, "block_size", 0))
    return false;
  for (int i = 0; i < v->uses.n; i++)
    for (size_t k = 0; k < sizeof takers / sizeof *takers; k++)
      if (ifd_node_is(v->uses.v[i].node, takers[k])) return true;
  return false;
}
