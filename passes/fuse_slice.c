#include "pass/ints.h"

/* Slice of what a Conv made, as after padding a causal one on both sides: outputs that nobody reads are not
 * made. A Conv pads less, a ConvTranspose cuts off more. */

typedef struct crop {
  int64_t begin[IFD_MAX_RANK], end[IFD_MAX_RANK]; /* outputs at the ends of each axis that go */
} crop;

/* How many elements the Slice leaves out at either end of an axis; false where that is not known, or nothing
 * would be left. */
static bool crop_axis(ifd_dim dim, int64_t start, int64_t end, int64_t *before, int64_t *behind) {
  bool known = ifd_dim_is_number(dim);
  if (start < -INT32_MAX || end < -INT32_MAX) return false;
  if (!known && (start < 0 || (end >= 0 && end < INT32_MAX))) return false;
  if (known && start < 0) start = start + dim > 0 ? start + dim : 0;
  *before = start;
  *behind = end < 0 ? -end : known && end < dim ? dim - end : 0;
  return *before < INT32_MAX && *behind < INT32_MAX && (!known || *before + *behind < dim);
}

static bool crop_of(ifd_rewrite *rw, const ifd_node *slice, crop *c) {
  ifd_ints starts, ends, axes, steps;
  int rank = ifd_rw_rank(rw, slice->inputs[0]);
  *c = (crop){{0}, {0}};
  if (rank < 3 || !ifd_ints_of(rw, slice, "starts", &starts) || !ifd_ints_of(rw, slice, "ends", &ends) ||
      !ifd_ints_axes(rw, slice, rank, &axes) || !ifd_ints_of(rw, slice, "steps", &steps))
    return false;
  if (starts.n > rank || ends.n != starts.n || (axes.given && axes.n != starts.n) ||
      (steps.given && steps.n != starts.n))
    return false;
  for (int i = 0; i < starts.n; i++) {
    int64_t a = axes.given ? axes.v[i] : i;
    if (a < 2 || c->begin[a] || c->end[a] || (steps.given && steps.v[i] != 1) ||
        !crop_axis(ifd_rw_dim(rw, slice->inputs[0], (int)a), starts.v[i], ends.v[i], &c->begin[a],
                   &c->end[a]))
      return false;
  }
  return true;
}

/* Element i of an attribute for each axis. */
static int64_t element(const ifd_node *node, const char *name, int n, int i, int64_t otherwise) {
  const int64_t *v;
  return ifd_node_ints(node, name, &v) == n ? v[i] : otherwise;
}

/* Pads of the axis that make the outputs that are left; false where there are not so many, or, of unknown
 * dimensions, some image might leave none. */
static bool pad_axis(ifd_rewrite *rw, const ifd_node *conv, int n, int a, const crop *c, int64_t *begin,
                     int64_t *end) {
  ifd_dim taps = ifd_rw_dim(rw, conv->inputs[1], a + 2);
  int64_t dilation = element(conv, "dilations", n, a, 1), stride = element(conv, "strides", n, a, 1);
  if (!ifd_dim_is_number(taps) || taps < 1 || taps > INT32_MAX || dilation < 1 || dilation > INT32_MAX ||
      stride < 1 || stride > INT32_MAX)
    return false;
  int64_t reach = (taps - 1) * dilation + 1;
  bool transposed = ifd_node_is(conv, "ConvTranspose"),
       known = ifd_dim_is_number(ifd_rw_dim(rw, conv->outputs[0], a + 2));
  int64_t way = transposed ? -1 : stride;
  *begin = element(conv, "pads", 2 * n, a, 0) - way * c->begin[a + 2];
  *end = element(conv, "pads", 2 * n, n + a, 0) - way * c->end[a + 2];
  if (*begin < 0 || *end < 0) return false;
  if (transposed) return *begin < reach && *end < reach && (known || *begin + *end < reach);
  return known || *begin + *end + 1 >= reach;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *slice) {
  ifd_node *conv = ifd_rw_sole_producer(slice->inputs[0], "Conv"), *node;
  int64_t pads[2 * IFD_MAX_RANK];
  crop c;
  if (!conv) conv = ifd_rw_sole_producer(slice->inputs[0], "ConvTranspose");
  if (!conv) return IFD_OK;
  if (!crop_of(rw, slice, &c)) return ifd_rw_refuse(rw, "it takes steps, or what it leaves is not known");
  if (!ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET") ||
      ifd_node_ints(conv, "output_shape", &(const int64_t *){0}))
    return ifd_rw_refuse(rw, "the operator before it pads by itself");
  int n = ifd_rw_rank(rw, conv->outputs[0]) - 2;
  for (int a = 0; a < n; a++)
    if (!pad_axis(rw, conv, n, a, &c, &pads[a], &pads[n + a]))
      return ifd_rw_refuse(rw, "the operator before it pads too little");
  TRY(ifd_rw_add_like(rw, &node, conv, conv->inputs, conv->n_inputs));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, "pads", pads, 2 * n));
  return ifd_rw_replace(rw, slice->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_fuse_slice = {
    .summary = "makes no outputs of Conv and ConvTranspose that a Slice leaves out",
    .phase = IFD_PHASE_SIMPLIFY, /* before merge_slice has it choose channels, too */
    .rules = (const ifd_rule[]){{"Slice", IFD_EXACT, fuse}, {0}},
};
