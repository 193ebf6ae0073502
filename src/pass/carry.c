#include "pass/carry.h"

#include "pass/ints.h"

/* A map of the channels of one side of a node, on its way to the other side. */
typedef struct carry {
  ifd_rewrite *rw;
  const ifd_node *node;
  const ifd_affine *f;
  const ifd_value *here, *there;
  bool back;        /* from the output to the input */
  int axis;         /* of there */
  int64_t n;        /* channels there */
  int64_t *channel; /* which one here each is; -1: one that does not come here. NULL: each is the same one */
} carry;

static bool is_same_axis(carry *c) {
  c->axis = c->f->axis;
  c->n = c->f->n;
  return ifd_rw_dim(c->rw, c->there, c->axis) == c->n;
}

static ifd_status new_channels(carry *c, int64_t n) {
  c->n = n;
  ALLOC(ifd_rw_error(c->rw), c->channel, ifd_new_array(ifd_rw_scratch(c->rw), int64_t, n));
  return IFD_OK;
}

/* ---- where the axis goes ---- */

static ifd_status transpose(carry *c, bool *fits) {
  const int64_t *perm;
  int rank = ifd_rw_rank(c->rw, c->here), n = ifd_node_ints(c->node, "perm", &perm);
  c->n = c->f->n;
  c->axis = -1;
  for (int i = 0; i < rank && (!n || n == rank); i++) {
    int from = n ? (int)perm[i] : rank - 1 - i; /* axis `from` of the input is axis i of the output */
    if ((c->back ? i : from) == c->f->axis) c->axis = c->back ? from : i;
  }
  *fits = c->axis >= 0;
  return IFD_OK;
}

static ifd_dim elements_behind(ifd_rewrite *rw, const ifd_value *v, int axis) {
  ifd_dim n = ifd_dim_number(ifd_rw_dims(rw), 1);
  for (int i = axis + 1; i < ifd_rw_rank(rw, v); i++)
    n = ifd_dim_mul(ifd_rw_dims(rw), n, ifd_rw_dim(rw, v, i));
  return n;
}

/* Elements keep their order: the axis there whose steps are the channels', or parts of theirs. */
static ifd_status view(carry *c, bool *fits) {
  ifd_dim behind = elements_behind(c->rw, c->here, c->f->axis);
  int64_t n = c->f->n;
  for (int i = 0; i < ifd_rw_rank(c->rw, c->there) && !*fits; i++) {
    ifd_dim m = ifd_rw_dim(c->rw, c->there, i), inner = elements_behind(c->rw, c->there, i);
    bool numbers = ifd_dim_is_number(behind) && ifd_dim_is_number(inner) && inner > 0;
    int64_t repeat = inner == behind ? 1 : numbers && behind % inner == 0 ? behind / inner : 0;
    if (repeat < 1 || !ifd_dim_is_number(m) || m < 1 || m % repeat || m / repeat % n) continue;
    *fits = true;
    c->axis = i;
    TRY(new_channels(c, m));
    for (int64_t k = 0; k < m; k++) c->channel[k] = k / repeat % n;
  }
  return IFD_OK;
}

/* The first element and the step along the axis; 0 and 1 where Slice leaves it whole. */
static bool slice_of(const carry *c, int64_t n_in, int64_t *first, int64_t *step) {
  ifd_ints axes, starts, steps;
  *first = 0;
  *step = 1;
  if (!ifd_ints_of(c->rw, c->node, "starts", &starts) || !ifd_ints_of(c->rw, c->node, "steps", &steps) ||
      !ifd_ints_axes(c->rw, c->node, ifd_rw_rank(c->rw, c->here), &axes))
    return false;
  for (int i = 0; i < starts.n; i++) {
    if ((axes.given ? axes.v[i] : i) != c->f->axis) continue;
    if (steps.given) *step = steps.v[i];
    int64_t last = *step < 0 ? n_in - 1 : n_in, from = starts.v[i] < 0 ? starts.v[i] + n_in : starts.v[i];
    *first = from < 0 ? 0 : from > last ? last : from;
  }
  return true;
}

static ifd_status slice(carry *c, bool *fits) {
  ifd_dim n_in = ifd_rw_dim(c->rw, c->node->inputs[0], c->f->axis),
          n_out = ifd_rw_dim(c->rw, c->node->outputs[0], c->f->axis);
  int64_t first, step;
  if (!ifd_dim_is_number(n_in) || !ifd_dim_is_number(n_out) || n_out < 1 || !slice_of(c, n_in, &first, &step))
    return IFD_OK;
  *fits = true;
  c->axis = c->f->axis;
  TRY(new_channels(c, c->back ? n_in : n_out));
  for (int64_t k = 0; k < c->n; k++) c->channel[k] = c->back ? -1 : first + k * step;
  for (int64_t k = 0; k < n_out && c->back; k++) c->channel[first + k * step] = k;
  return IFD_OK;
}

static ifd_status pool(carry *c, bool *fits) {
  *fits = c->f->axis < 2 && is_same_axis(c);
  return IFD_OK;
}

static ifd_status reduce(carry *c, bool *fits) {
  unsigned axes;
  int rank = ifd_rw_rank(c->rw, c->node->inputs[0]), axis = -1;
  if (rank < 0 || rank > 31 || !ifd_ints_axis_bits(c->rw, c->node, rank, &axes) || !axes) return IFD_OK;
  bool keeps = ifd_node_int(c->node, "keepdims", 1) != 0;
  c->n = c->f->n;
  for (int in = 0, out = 0; in < rank; in++) {
    bool goes = axes >> in & 1;
    if (!goes && c->f->axis == (c->back ? out : in)) axis = c->back ? in : out;
    out += keeps || !goes;
  }
  c->axis = axis;
  *fits = axis >= 0;
  return IFD_OK;
}

static ifd_status pad(carry *c, bool *fits) {
  ifd_ints pads, axes;
  int rank = ifd_rw_rank(c->rw, c->here);
  bool all = c->node->opset < 18 || (ifd_ints_of(c->rw, c->node, "axes", &axes) && !axes.given);
  *fits = all && c->node->opset >= 2 && ifd_ints_of(c->rw, c->node, "pads", &pads) && pads.n == 2 * rank &&
          !pads.v[c->f->axis] && !pads.v[rank + c->f->axis] && is_same_axis(c);
  return IFD_OK;
}

/* Where scales are given, an axis of scale 1 stays; where sizes are, one that keeps its length. */
static ifd_status resize(carry *c, bool *fits) {
  const ifd_node *node = c->node;
  int at = ifd_node_is(node, "Upsample") || node->opset < 11 ? 1 : 2;
  const ifd_tensor *scales = ifd_rw_constant(c->rw, ifd_node_input(node, at));
  bool sizes = at == 2 && ifd_node_has_input(node, 3) && !ifd_node_find_attr(node, "axes") &&
               ifd_node_string_is(node, "keep_aspect_ratio_policy", "stretch", "stretch");
  bool stays = scales && ifd_tensor_count(scales) == ifd_rw_rank(c->rw, c->here) &&
               ifd_tensor_get_f64(scales, c->f->axis) == 1;
  *fits = (sizes || stays) && is_same_axis(c);
  return IFD_OK;
}

/* ---- what passes ---- */

/* Zeros are brought in, and averaged with what is there. */
static bool averages_zeros(const ifd_node *node) {
  const int64_t *pads;
  int n = ifd_node_ints(node, "pads", &pads);
  if (!ifd_node_int(node, "count_include_pad", node->opset < 7)) return false;
  for (int i = 0; i < n; i++)
    if (pads[i]) return true;
  return ifd_node_int(node, "ceil_mode", 0) || !ifd_node_string_is(node, "auto_pad", "NOTSET", "NOTSET");
}

static bool lets_average(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f) {
  (void)rw;
  return !f->shifts || !averages_zeros(node);
}

/* Zeros stay zeros when scaled; other numbers that are brought in stay themselves under no map. */
static bool lets_pad(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f) {
  double value = ifd_node_float(node, "value", 0);
  if (!ifd_node_string_is(node, "mode", "constant", "constant")) return true;
  if (ifd_node_has_input(node, 2) && !ifd_rw_scalar(rw, node->inputs[2], &value)) return false;
  return !f->shifts && value == 0;
}

/* The weights of each element's neighbours sum to one, but where a number from outside is brought in. */
static bool lets_resize(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f) {
  (void)rw, (void)f;
  return !ifd_node_string_is(node, "coordinate_transformation_mode", "half_pixel", "tf_crop_and_resize");
}

static bool lets_rising(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f) {
  (void)rw;
  for (int64_t i = 0; i < f->n; i++)
    if (!(f->a[i] > 0)) return false;
  return node->n_outputs < 2 || !node->outputs[1];
}

static const struct {
  const char *op_types;
  ifd_status (*place)(carry *c, bool *fits);                                /* of more than one channel */
  bool (*lets)(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f); /* NULL: any map */
} carriers[] = {{"Transpose", transpose, NULL},
                {"Reshape Flatten Squeeze Unsqueeze", view, NULL},
                {"Slice", slice, NULL},
                {"Pad", pad, lets_pad},
                {"AveragePool", pool, lets_average},
                {"GlobalAveragePool", pool, NULL},
                {"MaxPool GlobalMaxPool", pool, lets_rising},
                {"ReduceMean", reduce, NULL},
                {"ReduceMax ReduceMin", reduce, lets_rising},
                {"Resize Upsample", resize, lets_resize}};

/* ---- carrying ---- */

/* The map as the channels there have it. */
static ifd_status spread(const carry *c, ifd_affine *out) {
  double *a, *b;
  *out = *c->f;
  out->axis = c->axis;
  if (!c->channel) return IFD_OK;
  ALLOC(ifd_rw_error(c->rw), a, ifd_new_array(ifd_rw_scratch(c->rw), double, c->n));
  ALLOC(ifd_rw_error(c->rw), b, ifd_new_array(ifd_rw_scratch(c->rw), double, c->n));
  for (int64_t k = 0; k < c->n; k++) {
    int64_t here = c->channel[k];
    a[k] = here < 0 ? 1 : c->f->a[here];
    b[k] = here < 0 ? 0 : c->f->b[here];
  }
  out->n = c->n;
  out->a = a;
  out->b = b;
  return IFD_OK;
}

bool ifd_is_carrier(const ifd_node *node) {
  for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++)
    if (ifd_node_is_any(node, carriers[i].op_types)) return true;
  return false;
}

static ifd_status carry_map(carry *c, ifd_affine *out, bool *carried) {
  *carried = false;
  if (*c->node->domain || !c->node->n_inputs || !c->here || !c->there || ifd_rw_rank(c->rw, c->here) < 0 ||
      ifd_rw_rank(c->rw, c->there) < 0)
    return IFD_OK;
  for (size_t i = 0; i < sizeof carriers / sizeof *carriers && !*carried; i++) {
    if (!ifd_node_is_any(c->node, carriers[i].op_types)) continue;
    if (carriers[i].lets && !carriers[i].lets(c->rw, c->node, c->f)) return IFD_OK;
    if (c->f->n > 1)
      TRY(carriers[i].place(c, carried));
    else
      *carried = true, c->axis = -1;
  }
  if (!*carried) return IFD_OK;
  TRY(spread(c, out));
  out->x = (ifd_value *)c->there;
  return IFD_OK;
}

ifd_status ifd_carry_back(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f, ifd_affine *out,
                          bool *carried) {
  carry c = {.rw = rw, .node = node, .f = f, .back = true};
  if (node->n_inputs) c.here = node->outputs[0], c.there = node->inputs[0];
  return carry_map(&c, out, carried);
}

ifd_status ifd_carry_on(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f, ifd_affine *out,
                        bool *carried) {
  carry c = {.rw = rw, .node = node, .f = f};
  if (node->n_inputs) c.here = node->inputs[0], c.there = node->outputs[0];
  return carry_map(&c, out, carried);
}

ifd_status ifd_carriers_find(ifd_rewrite *rw, const ifd_node *last, ifd_affine *f, ifd_carriers *out) {
  bool carried = true;
  out->n = 0;
  while (out->n < IFD_MOST_CARRIERS) {
    ifd_affine before;
    const char *ignored;
    ifd_node *node = f->x->producer;
    if (!node || node->graph != last->graph || ifd_value_n_readers(f->x) != 1) return IFD_OK;
    if (out->n) {
      TRY(ifd_affine_chain(rw, node, &before, &ignored));
      bool fits = before.n_nodes > 0;
      if (fits) TRY(ifd_affine_compose(rw, &before, f, f, &fits));
      if (fits) continue;
    }
    TRY(ifd_carry_back(rw, node, f, &before, &carried));
    if (!carried) return IFD_OK;
    *f = before;
    out->nodes[out->n++] = node;
  }
  return IFD_OK;
}

ifd_status ifd_carriers_rebuild(ifd_rewrite *rw, ifd_value **out, const ifd_carriers *c, ifd_value *x) {
  for (int i = c->n - 1; i >= 0; i--) {
    const ifd_node *old = c->nodes[i];
    ifd_value **inputs;
    ifd_node *node;
    ALLOC(ifd_rw_error(rw), inputs,
          ifd_arena_memdup(ifd_rw_scratch(rw), old->inputs, (size_t)old->n_inputs * sizeof *inputs));
    inputs[0] = x;
    TRY(ifd_rw_add_like(rw, &node, old, inputs, old->n_inputs));
    x = node->outputs[0];
  }
  *out = x;
  return IFD_OK;
}
