#include "pass/turn.h"

#include "ops/shared/window.h"

enum { ANY_SIZE = 1 << 20 };

/* The pads of the Conv, begins and ends; false where they depend on sizes that are not known, or are
 * negative. */
static bool pads_of(ifd_rewrite *rw, const ifd_node *conv, const ifd_shape *w, int64_t *pads) {
  ifd_shape in = {.rank = w->rank};
  ifd_window window;
  const int64_t *v;
  ifd_error ignored = {0}; /* what cannot be read is for the operator to refuse, when it runs */
  bool sized = ifd_node_ints(conv, "output_shape", &v) > 0;
  bool known = true;
  for (int i = 0; i < w->rank; i++) {
    ifd_dim dim = ifd_rw_dim(rw, conv->inputs[0], i);
    known = known && (i < 2 || !sized || ifd_dim_is_number(dim));
    in.dim[i] = ifd_dim_is_number(dim) && i >= 2 ? dim : ANY_SIZE; /* pads do not depend on it */
  }
  if (!known || ifd_window_init_transposed(&ignored, &window, conv, &in, w) != IFD_OK) return false;
  for (int i = 0; i < window.n; i++) {
    int64_t reach = window.dilation[i] * (window.kernel[i] - 1);
    pads[i] = reach - window.begin[i];
    pads[window.n + i] = window.image[i] - window.windows[i] + reach - pads[i];
    known = known && window.windows[i] > 0 && pads[i] >= 0 && pads[window.n + i] >= 0;
  }
  return known;
}

/* [c, m / group, kernel…] to [m, c / group, kernel…], every kernel backwards. */
static ifd_status turn(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *w, int64_t group,
                       const char *name) {
  int64_t c = w->shape.dim[0] / group, m = w->shape.dim[1],
          taps = ifd_shape_span(&w->shape, 2, w->shape.rank);
  ifd_tensor t;
  ifd_shape shape = w->shape;
  double *kernel, *turned;
  shape.dim[0] = m * group, shape.dim[1] = c;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), w->dtype, &shape));
  ALLOC(ifd_rw_error(rw), kernel, ifd_new_array(ifd_rw_scratch(rw), double, taps));
  ALLOC(ifd_rw_error(rw), turned, ifd_new_array(ifd_rw_scratch(rw), double, taps));
  for (int64_t i = 0; i < group * c * m; i++) {
    int64_t g = i / (c * m), from = i / m % c, to = i % m;
    ifd_tensor_get_f64s(w, i * taps, kernel, taps);
    for (int64_t k = 0; k < taps; k++) turned[k] = kernel[taps - 1 - k];
    ifd_tensor_set_f64s(&t, ((g * m + to) * c + from) * taps, turned, taps);
  }
  return ifd_rw_add_constant(rw, out, &t, name);
}

static bool strides_are_one(const ifd_node *conv) {
  const int64_t *strides;
  for (int i = ifd_node_ints(conv, "strides", &strides) - 1; i >= 0; i--)
    if (strides[i] != 1) return false;
  return true;
}

ifd_status ifd_turn_conv_transpose(ifd_rewrite *rw, ifd_node **out, const ifd_node *conv) {
  const ifd_tensor *w = ifd_rw_constant(rw, conv->inputs[1]);
  const ifd_attr *dilations = ifd_node_find_attr(conv, "dilations");
  int64_t group = ifd_node_int(conv, "group", 1), pads[2 * IFD_MAX_RANK];
  int rank = ifd_rw_rank(rw, conv->inputs[0]);
  *out = NULL;
  if (!w || rank < 3 || w->shape.rank != rank || group < 1 || w->shape.dim[0] % group ||
      ifd_tensor_count(w) == 0 || !strides_are_one(conv) || !pads_of(rw, conv, &w->shape, pads))
    return IFD_OK;
  ifd_value *inputs[3] = {conv->inputs[0], NULL, ifd_node_input(conv, 2)};
  TRY(turn(rw, &inputs[1], w, group, conv->inputs[1]->name));
  TRY(ifd_rw_add_node(rw, out, "Conv", inputs, inputs[2] ? 3 : 2, 1));
  (*out)->name = conv->name;
  if (dilations) TRY(ifd_node_set_attr(ifd_rw_error(rw), *out, dilations));
  TRY(ifd_node_set_int(ifd_rw_error(rw), *out, "group", group));
  return ifd_node_set_ints(ifd_rw_error(rw), *out, "pads", pads, 2 * (rank - 2));
}
