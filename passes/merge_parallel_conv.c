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

/* Where the taps of the small kernel lie in the big one. */
static void find_places(int64_t *places, const geometry *big, const geometry *small, const int64_t *at) {
  int64_t tap[MAX_AXES] = {0};
  for (;;) {
    int64_t place = 0;
    for (int i = 0; i < big->n; i++) place = place * big->kernel[i] + at[i] + tap[i];
    *places++ = place;
    int i = big->n - 1;
    while (i >= 0 && ++tap[i] == small->kernel[i]) tap[i--] = 0;
    if (i < 0) return;
  }
}

static bool lies_on(const term *big, const term *small, int64_t *at) {
  const ifd_linear *a = &big->conv, *b = &small->conv;
  const ifd_affine *f = &small->map;
  bool alike = small->is_conv ? a->d0 == b->d0 && a->d1 == b->d1 && a->in.groups == b->in.groups &&
                                    a->weight->shape.rank == b->weight->shape.rank &&
                                    a->weight->dtype == b->weight->dtype
                              : a->in.n == a->out.n && (f->n == 1 || (f->axis == 1 && f->n == a->out.n));
  return alike && offsets(&big->g, &small->g, at);
}

/* Sums of kernels, an output channel at a time, as weights in double are large: [d1, kernel…] of the big one,
 * [d1, taps] of the small one. */
typedef struct sum {
  const term *big, *small;
  int64_t n, taps, *places;
  double *row, *kernels;
} sum;

/* Of the small one's output channel m, times its sign; *n: so many input channels, from the result on. */
static int64_t kernels_of(const sum *s, int64_t m, int64_t *n) {
  const ifd_linear *l = &s->small->conv;
  *n = s->small->is_conv ? l->d1 : 1;
  if (s->small->is_conv)
    ifd_tensor_get_f64s(l->weight, m * l->d1 * s->taps, s->kernels, l->d1 * s->taps);
  else
    s->kernels[0] = s->small->map.a[s->small->map.n == 1 ? 0 : m];
  for (int64_t i = 0; i < *n * s->taps; i++) s->kernels[i] *= s->small->sign;
  /* A channel of a map is connected with itself alone, which is among its group's. */
  return s->small->is_conv ? 0 : m % s->big->conv.d1;
}

static void add_row(const sum *s, ifd_tensor *out, int64_t m) {
  const ifd_linear *l = &s->big->conv;
  int64_t n, first = kernels_of(s, m, &n);
  ifd_tensor_get_f64s(l->weight, m * s->n, s->row, s->n);
  for (int64_t i = 0; i < s->n; i++) s->row[i] *= s->big->sign;
  for (int64_t c = 0; c < n; c++)
    for (int64_t t = 0; t < s->taps; t++)
      s->row[(first + c) * l->inner + s->places[t]] += s->kernels[c * s->taps + t];
  ifd_tensor_set_f64s(out, m * s->n, s->row, s->n);
}

/* The same of floats, of which most stay. */
static void add_floats(const sum *s, ifd_tensor *out, int64_t m) {
  const ifd_linear *l = &s->big->conv;
  int64_t n, first = kernels_of(s, m, &n);
  float *to = (float *)out->data + m * s->n;
  memcpy(to, (const char *)l->weight->data + (size_t)(m * s->n) * sizeof *to, (size_t)s->n * sizeof *to);
  to += first * l->inner;
  for (int64_t c = 0; c < n; c++, to += l->inner)
    for (int64_t t = 0; t < s->taps; t++)
      to[s->places[t]] = (float)(to[s->places[t]] + s->kernels[c * s->taps + t]);
}

static int64_t reach(const geometry *g) {
  int64_t n = 1;
  for (int i = 0; i < g->n; i++) n *= g->kernel[i];
  return n;
}

static ifd_status add_weights(ifd_rewrite *rw, ifd_tensor *out, const term *big, const term *small,
                              const int64_t *at) {
  const ifd_linear *l = &big->conv;
  const ifd_tensor *w = l->weight;
  sum s = {.big = big, .small = small, .n = l->d1 * l->inner, .taps = reach(&small->g)};
  ALLOC(ifd_rw_error(rw), s.places, ifd_new_array(ifd_rw_scratch(rw), int64_t, s.taps));
  ALLOC(ifd_rw_error(rw), s.row, ifd_new_array(ifd_rw_scratch(rw), double, s.n));
  ALLOC(ifd_rw_error(rw), s.kernels, ifd_new_array(ifd_rw_scratch(rw), double, l->d1 *s.taps));
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), out, ifd_rw_arena(rw), w->dtype, &w->shape));
  find_places(s.places, &big->g, &small->g, at);
  const bool floats = w->dtype == IFD_FLOAT && !w->splat && big->sign == 1;
  for (int64_t m = 0; m < l->d0; m++) (floats ? add_floats : add_row)(&s, out, m);
  return IFD_OK;
}

static ifd_status add_biases(ifd_rewrite *rw, double **out, const term *big, const term *small) {
  double *more = NULL;
  TRY(ifd_linear_bias(rw, out, &big->conv));
  if (small->is_conv) TRY(ifd_linear_bias(rw, &more, &small->conv));
  for (int64_t m = 0; m < big->conv.out.n; m++) {
    double b = more ? more[m] : small->map.b[small->map.n == 1 ? 0 : m];
    (*out)[m] = big->sign * (*out)[m] + small->sign * b;
  }
  return IFD_OK;
}

static ifd_status build(ifd_rewrite *rw, ifd_node *add, const term *big, const term *small,
                        const int64_t *at) {
  ifd_tensor t;
  ifd_value *weight, *y;
  double *bias;
  TRY(add_weights(rw, &t, big, small, at));
  TRY(add_biases(rw, &bias, big, small));
  TRY(ifd_rw_add_constant(rw, &weight, &t, big->conv.node->inputs[1]->name));
  TRY(ifd_linear_rebuild(rw, &y, &big->conv, big->x, weight, bias));
  return ifd_rw_replace(rw, add->outputs[0], y);
}

/* A map, be it that of x to itself, as a kernel of one tap. */
static void make_point(term *t, int n_axes, bool is_identity) {
  static const double one = 1, zero = 0;
  if (is_identity) t->map = (ifd_affine){.n = 1, .axis = -1, .a = &one, .b = &zero};
  t->g = (geometry){.n = n_axes};
  for (int i = 0; i < n_axes; i++) t->g.kernel[i] = t->g.stride[i] = t->g.dilation[i] = 1;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *add) {
  term t[2];
  bool found[2];
  int64_t at[MAX_AXES];
  if (add->n_inputs != 2 || add->inputs[0] == add->inputs[1]) return IFD_OK;
  for (int i = 0; i < 2; i++) TRY(term_of(rw, add->inputs[i], &t[i], &found[i]));
  t[0].sign = 1;
  t[1].sign = ifd_node_is(add, "Sub") ? -1 : 1;
  int big = found[1] && t[1].is_conv && (!found[0] || !t[0].is_conv || reach(&t[1].g) > reach(&t[0].g));
  term *a = &t[big], *b = &t[1 - big];
  if (!found[big] || !a->is_conv) return IFD_OK;
  if (a->x != b->x) return ifd_rw_refuse(rw, "its two sides do not read the same value");
  if (!b->is_conv) make_point(b, a->g.n, !found[1 - big]);
  if (!lies_on(a, b, at)) return ifd_rw_refuse(rw, "the kernels of its two sides do not lie on each other");
  return build(rw, add, a, b, at);
}

const ifd_pass ifd_pass_merge_parallel_conv = {
    .summary = "adds up Convs (and scales and shifts) of one value into one Conv",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Add Sub", IFD_REASSOCIATES, merge}, {0}},
};
