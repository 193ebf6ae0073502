#include "pass/linear.h"

#include <string.h>

/* Conv(x) ± Conv(x) with kernels that lie on each other is one Conv with the sum of the kernels; so is
 * Conv(x) ± (a·x + b), whose kernel is a in the middle. (Structural reparameterization, Ding et al., RepVGG,
 * 2021.) */

enum { MAX_AXES = 5 };

typedef struct geometry {
  int n;
  int64_t kernel[MAX_AXES], stride[MAX_AXES], dilation[MAX_AXES], begin[MAX_AXES], end[MAX_AXES];
} geometry;

/* One summand. */
typedef struct term {
  ifd_value *x;
  double sign; /* -1: it is taken away */
  bool is_conv;
  ifd_linear conv;
  ifd_affine map;
  geometry g;
} term;

static void fill(int64_t *to, int n, const int64_t *from, int n_from, int64_t otherwise) {
  for (int i = 0; i < n; i++) to[i] = i < n_from ? from[i] : otherwise;
}

static bool geometry_of(const ifd_linear *l, geometry *g) {
  const ifd_node *conv = l->node;
  const int64_t *v;
  int n;
  *g = (geometry){.n = l->weight->shape.rank - 2};
  if (g->n > MAX_AXES || !ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET")) return false;
  for (int i = 0; i < g->n; i++) g->kernel[i] = l->weight->shape.dim[2 + i];
  n = ifd_node_ints(conv, "strides", &v);
  fill(g->stride, g->n, v, n, 1);
  n = ifd_node_ints(conv, "dilations", &v);
  fill(g->dilation, g->n, v, n, 1);
  n = ifd_node_ints(conv, "pads", &v);
  fill(g->begin, g->n, v, n, 0);
  fill(g->end, g->n, n ? v + g->n : NULL, n ? g->n : 0, 0);
  return true;
}

static ifd_status term_of(ifd_rewrite *rw, ifd_value *v, term *t, bool *found) {
  const char *why;
  ifd_node *node = v->producer;
  *found = false;
  *t = (term){.x = v};
  if (!node || ifd_value_n_readers(v) != 1) return IFD_OK;
  if (ifd_node_is(node, "Conv")) {
    t->is_conv = *found = ifd_linear_of(rw, node, &t->conv, &why) && geometry_of(&t->conv, &t->g);
    if (*found) t->x = node->inputs[0];
    return IFD_OK;
  }
  TRY(ifd_affine_chain(rw, node, &t->map, &why));
  *found = t->map.n_nodes > 0;
  if (*found) t->x = t->map.x;
  return IFD_OK;
}

/* Where the small kernel's first tap lies in the big one, on each axis; false when it does not fit for every
 * image size. */
static bool offsets(const geometry *big, const geometry *small, int64_t *at) {
  for (int i = 0; i < big->n; i++) {
    int64_t d = big->dilation[i], shift = big->begin[i] - small->begin[i];
    bool point = small->kernel[i] == 1;
    if (big->stride[i] != small->stride[i] || (!point && small->dilation[i] != d) || shift < 0 || shift % d)
      return false;
    at[i] = shift / d;
    if (at[i] + small->kernel[i] > big->kernel[i]) return false;
    if (big->end[i] - small->end[i] != (big->kernel[i] - small->kernel[i]) * d - shift) return false;
  }
  return true;
}

/* Adds a kernel [kernel…] of one pair of channels, times a sign, into another. */
static void add_kernel(double *to, const geometry *big, const geometry *small, const int64_t *at,
                       const double *from, double sign) {
  int64_t tap[MAX_AXES] = {0};
  for (;;) {
    int64_t place = 0, source = 0;
    for (int i = 0; i < big->n; i++) {
      place = place * big->kernel[i] + at[i] + tap[i];
      source = source * small->kernel[i] + tap[i];
    }
    to[place] += sign * from[source];
    int i = big->n - 1;
    while (i >= 0 && ++tap[i] == small->kernel[i]) tap[i--] = 0;
    if (i < 0) return;
  }
}

static ifd_status add_conv(ifd_rewrite *rw, double *w, double *bias, const term *big, const term *small,
                           bool *fits) {
  int64_t at[MAX_AXES];
  const ifd_linear *a = &big->conv, *b = &small->conv;
  *fits = a->d0 == b->d0 && a->d1 == b->d1 && a->in.groups == b->in.groups &&
          a->weight->shape.rank == b->weight->shape.rank && a->weight->dtype == b->weight->dtype &&
          offsets(&big->g, &small->g, at);
  if (!*fits) return IFD_OK;
  double *kernel, *more;
  ALLOC(ifd_rw_error(rw), kernel, ifd_new_array(ifd_rw_scratch(rw), double, b->inner));
  for (int64_t i = 0; i < a->d0 * a->d1; i++) {
    ifd_tensor_get_f64s(b->weight, i * b->inner, kernel, b->inner);
    add_kernel(w + i * a->inner, &big->g, &small->g, at, kernel, small->sign);
  }
  TRY(ifd_linear_bias(rw, &more, b));
  for (int64_t m = 0; m < a->out.n; m++) bias[m] += small->sign * more[m];
  return IFD_OK;
}

/* a·x + b is a kernel of one tap that connects each channel with itself. */
static bool add_map(double *w, double *bias, const term *big, const ifd_affine *f, double sign) {
  const ifd_linear *l = &big->conv;
  geometry point = {.n = big->g.n};
  int64_t at[MAX_AXES], m_group = l->d0 / l->in.groups;
  for (int i = 0; i < point.n; i++) point.kernel[i] = point.stride[i] = point.dilation[i] = 1;
  if (l->in.n != l->out.n || (f->n > 1 && (f->axis != 1 || f->n != l->out.n)) ||
      !offsets(&big->g, &point, at))
    return false;
  for (int64_t m = 0; m < l->d0; m++) {
    int64_t i = f->n == 1 ? 0 : m, c = m - m / m_group * l->d1;
    if (c < 0 || c >= l->d1) return false; /* groups that change width: m is not among its own inputs */
    add_kernel(w + (m * l->d1 + c) * l->inner, &big->g, &point, at, &f->a[i], sign);
    bias[m] += sign * f->b[i];
  }
  return true;
}

static ifd_status build(ifd_rewrite *rw, ifd_node *add, const term *big, const double *w,
                        const double *bias) {
  ifd_tensor t;
  ifd_value *weight, *y;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), big->conv.weight->dtype,
                     &big->conv.weight->shape));
  ifd_tensor_set_f64s(&t, 0, w, ifd_tensor_count(&t));
  TRY(ifd_rw_add_constant(rw, &weight, &t, big->conv.node->inputs[1]->name));
  TRY(ifd_linear_rebuild(rw, &y, &big->conv, big->x, weight, bias));
  return ifd_rw_replace(rw, add->outputs[0], y);
}

static int64_t reach(const geometry *g) {
  int64_t n = 1;
  for (int i = 0; i < g->n; i++) n *= g->kernel[i];
  return n;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *add) {
  term t[2];
  bool found[2], fits;
  double *w, *bias;
  if (add->n_inputs != 2 || add->inputs[0] == add->inputs[1]) return IFD_OK;
  for (int i = 0; i < 2; i++) TRY(term_of(rw, add->inputs[i], &t[i], &found[i]));
  t[0].sign = 1;
  t[1].sign = ifd_node_is(add, "Sub") ? -1 : 1;
  int big = found[1] && t[1].is_conv && (!found[0] || !t[0].is_conv || reach(&t[1].g) > reach(&t[0].g));
  const term *a = &t[big], *b = &t[1 - big];
  if (!found[big] || !a->is_conv) return IFD_OK;
  if (a->x != b->x) return ifd_rw_refuse(rw, "its two sides do not read the same value");
  int64_t n = ifd_tensor_count(a->conv.weight);
  ALLOC(ifd_rw_error(rw), w, ifd_new_array(ifd_rw_scratch(rw), double, n));
  ifd_tensor_get_f64s(a->conv.weight, 0, w, n);
  TRY(ifd_linear_bias(rw, &bias, &a->conv));
  for (int64_t i = 0; i < n; i++) w[i] *= a->sign;
  for (int64_t m = 0; m < a->conv.out.n; m++) bias[m] *= a->sign;
  if (found[1 - big] && b->is_conv)
    TRY(add_conv(rw, w, bias, a, b, &fits));
  else {
    ifd_affine identity = {.n = 1, .axis = -1, .a = (double[]){1}, .b = (double[]){0}};
    fits = add_map(w, bias, a, found[1 - big] ? &b->map : &identity, b->sign);
  }
  if (!fits) return ifd_rw_refuse(rw, "the kernels of its two sides do not lie on each other");
  return build(rw, add, a, w, bias);
}

const ifd_pass ifd_pass_merge_parallel_conv = {
    .summary = "adds up Convs (and scales and shifts) of one value into one Conv",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Add Sub", IFD_REASSOCIATES, merge}, {0}},
};
