#include "pass/affine.h"
#include "pass/foreign.h"

/* InstanceNormalization of channels seen in groups, Reshape [N, G, …] before it and back behind it, and the
 * scale and shift of each channel: GroupNormalization, whose scale and bias are those of channels since
 * version 21. (Wu, He: Group Normalization, 2018.) */

enum { SCALES_CHANNELS = 21 };

typedef struct groups {
  const ifd_node *norm;
  ifd_value *x;
  int64_t n, channels;
  const ifd_tensor *scale, *bias; /* of each group */
} groups;

static bool groups_of(ifd_rewrite *rw, const ifd_value *y, groups *g) {
  const ifd_node *back = ifd_rw_producer(y, "Reshape");
  g->norm = back ? ifd_rw_sole_producer(back->inputs[0], "InstanceNormalization") : NULL;
  const ifd_node *first = g->norm ? ifd_rw_sole_producer(g->norm->inputs[0], "Reshape") : NULL;
  if (!first || first->graph != back->graph || g->norm->graph != back->graph) return false;
  const ifd_value *parts = first->outputs[0];
  g->x = first->inputs[0];
  if (ifd_rw_rank(rw, g->x) < 3 || ifd_rw_rank(rw, parts) < 3 || !ifd_rw_same_shape(rw, g->x, y))
    return false;
  ifd_dim n = ifd_rw_dim(rw, parts, 1), channels = ifd_rw_dim(rw, g->x, 1);
  if (!ifd_dim_is_number(n) || !ifd_dim_is_number(channels) || n < 1 || channels % n) return false;
  g->n = n, g->channels = channels;
  g->scale = ifd_rw_constant(rw, g->norm->inputs[1]);
  g->bias = ifd_rw_constant(rw, g->norm->inputs[2]);
  return g->scale && g->bias && ifd_rw_dim(rw, parts, 0) == ifd_rw_dim(rw, g->x, 0);
}

static ifd_status build(ifd_rewrite *rw, ifd_node *last, const groups *g, const ifd_affine *f) {
  ifd_error *err = ifd_rw_error(rw);
  ifd_dtype dtype = ifd_rw_dtype(rw, g->x);
  double *scale, *bias;
  ifd_value *inputs[3] = {g->x};
  ifd_node *node;
  ALLOC(err, scale, ifd_new_array(ifd_rw_scratch(rw), double, g->channels));
  ALLOC(err, bias, ifd_new_array(ifd_rw_scratch(rw), double, g->channels));
  for (int64_t c = 0; c < g->channels; c++) {
    int64_t group = c / (g->channels / g->n), i = f->n == 1 ? 0 : c;
    scale[c] = f->a[i] * ifd_tensor_get_f64(g->scale, group);
    bias[c] = f->a[i] * ifd_tensor_get_f64(g->bias, group) + f->b[i];
  }
  TRY(ifd_affine_add_vector(rw, &inputs[1], dtype, scale, g->channels, "scale"));
  TRY(ifd_affine_add_vector(rw, &inputs[2], dtype, bias, g->channels, "bias"));
  TRY(ifd_rw_add_node(rw, &node, "GroupNormalization", inputs, 3, 1));
  ifd_foreign_raise(node, SCALES_CHANNELS);
  TRY(ifd_node_set_int(err, node, "num_groups", g->n));
  TRY(ifd_node_set_float(err, node, "epsilon", ifd_node_float(g->norm, "epsilon", 1e-5f)));
  node->name = g->norm->name;
  return ifd_rw_replace(rw, last->outputs[0], node->outputs[0]);
}

/* Whether the one reader scales or shifts the channels: then it is the end. */
static ifd_status carries_on(ifd_rewrite *rw, const ifd_node *last, int64_t channels, bool *goes_on) {
  ifd_affine next;
  const char *why;
  const ifd_node *reader = ifd_value_only_reader(last->outputs[0]);
  *goes_on = false;
  if (!reader || reader->graph != last->graph || !ifd_node_is_any(reader, "Mul Add")) return IFD_OK;
  TRY(ifd_affine_of(rw, reader, &next, goes_on, &why));
  *goes_on =
      *goes_on && next.x == last->outputs[0] && (next.n == 1 || (next.axis == 1 && next.n == channels));
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  static const double one = 1, zero = 0;
  ifd_affine f = {.n = 1, .axis = -1, .a = &one, .b = &zero, .x = last->outputs[0]};
  groups g;
  const char *why;
  bool goes_on;
  if (!ifd_node_is(last, "Reshape")) TRY(ifd_affine_chain(rw, last, &f, &why));
  if (!f.n || !groups_of(rw, f.x, &g)) return IFD_OK;
  if (last->opset < SCALES_CHANNELS && !ifd_rw_for_running(rw))
    return ifd_rw_refuse(rw, "it is GroupNormalization, an operator since opset 21 (--raise-opset)");
  if (f.n > 1 && (f.axis != 1 || f.n != g.channels))
    return ifd_rw_refuse(rw, "it runs along another axis than channels");
  if (f.x != last->outputs[0] && ifd_value_n_readers(f.x) != 1)
    return ifd_rw_refuse(rw, "what is normalized is read by others too, or is an output of the graph");
  TRY(carries_on(rw, last, g.channels, &goes_on));
  if (goes_on) return IFD_OK;
  return build(rw, last, &g, &f);
}

const ifd_pass ifd_pass_fuse_group_norm = {
    .summary =
        "recognizes GroupNormalization (since opset 21) in InstanceNormalization of groups of channels",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Reshape Mul Add", IFD_REASSOCIATES, fuse}, {0}},
};
