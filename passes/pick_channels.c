#include "pass/ints.h"
#include "pass/unblock.h"

/* Channels of blocked images (ops/blocked.c) that are joined, parted, shuffled or padded within blocks:
 * f(Unblock(x), …) becomes Unblock(infold.PickChannels(x, …)) (ops/pick.c), and picks of picks are one. */

enum { ZERO = -1, MOST = 1 << 16 }; /* in the place of a channel; channels that padding may make */

typedef struct picking {
  ifd_value **inputs; /* blocked */
  int64_t *channels;  /* of each input */
  int n_inputs;
  int64_t *order;
  int64_t n;
} picking;

static ifd_status new_picking(ifd_rewrite *rw, picking *p, int n_inputs, int64_t n) {
  *p = (picking){.n_inputs = n_inputs, .n = n};
  ALLOC(ifd_rw_error(rw), p->inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, n_inputs));
  ALLOC(ifd_rw_error(rw), p->channels, ifd_new_array(ifd_rw_scratch(rw), int64_t, n_inputs));
  ALLOC(ifd_rw_error(rw), p->order, ifd_new_array(ifd_rw_scratch(rw), int64_t, n));
  return IFD_OK;
}

static ifd_status add_pick(ifd_rewrite *rw, ifd_node **out, const picking *p) {
  TRY(ifd_rw_add_node(rw, out, "infold.PickChannels", p->inputs, p->n_inputs, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), *out, "channels", p->channels, p->n_inputs));
  return ifd_node_set_ints(ifd_rw_error(rw), *out, "order", p->order, (int)p->n);
}

/* y = Unblock(PickChannels(…)) */
static ifd_status replace(ifd_rewrite *rw, ifd_value *y, const picking *p) {
  ifd_node *pick;
  TRY(add_pick(rw, &pick, p));
  return ifd_unblock_replace(rw, y, pick->outputs[0], p->n);
}

static int64_t channels_of(const ifd_node *unblock) { return ifd_node_int(unblock, "channels", 0); }

/* Axis 1 of an image. */
static bool along_channels(ifd_rewrite *rw, const ifd_node *node, int64_t absent) {
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  int64_t axis = ifd_node_int(node, "axis", absent);
  return rank >= 3 && (axis < 0 ? axis + rank : axis) == 1;
}

static bool is_zero(ifd_rewrite *rw, const ifd_value *v) {
  const ifd_tensor *t = ifd_rw_constant(rw, v);
  if (!t || t->dtype != IFD_FLOAT) return false;
  int64_t n = ifd_tensor_count(t);
  for (int64_t i = 0; i < n; i++)
    if (ifd_tensor_get_f64(t, i) != 0) return false;
  return true;
}

/* Channels of a part of a Concat that is blocked, or zeros; 0 where it is neither. */
static int64_t channels_of_part(ifd_rewrite *rw, const ifd_value *v) {
  const ifd_node *unblock = ifd_rw_own_producer(v, "Unblock");
  return unblock ? channels_of(unblock) : is_zero(rw, v) ? ifd_rw_dim(rw, v, 1) : 0;
}

static ifd_status concat(ifd_rewrite *rw, ifd_node *node) {
  int64_t n = 0, from = 0;
  bool whole = true; /* blocks: sink_unblock's */
  picking p;
  if (!along_channels(rw, node, 1)) return IFD_OK;
  for (int i = 0; i < node->n_inputs; i++) {
    int64_t channels = channels_of_part(rw, node->inputs[i]);
    if (!channels) return ifd_rw_refuse(rw, "part %d is not blocked", i);
    whole = whole && n % IFD_BLOCK == 0 && ifd_rw_own_producer(node->inputs[i], "Unblock");
    n += channels;
  }
  if (whole) return IFD_OK;
  TRY(new_picking(rw, &p, node->n_inputs, n));
  p.n_inputs = 0, n = 0;
  for (int i = 0; i < node->n_inputs; i++) {
    const ifd_node *unblock = ifd_rw_own_producer(node->inputs[i], "Unblock");
    int64_t channels = channels_of_part(rw, node->inputs[i]);
    for (int64_t k = 0; k < channels; k++) p.order[n++] = unblock ? from++ : ZERO;
    if (!unblock) continue;
    p.inputs[p.n_inputs] = unblock->inputs[0];
    p.channels[p.n_inputs++] = channels;
  }
  return p.n_inputs ? replace(rw, node->outputs[0], &p) : IFD_OK;
}

/* Zeros before and behind the channels, and nowhere else. */
static ifd_status pad(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *unblock = ifd_rw_own_producer(node->inputs[0], "Unblock");
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  ifd_ints pads;
  double value = 0;
  picking p;
  if (!unblock || node->opset < 2 || ifd_node_has_input(node, 3) || !ifd_ints_of(rw, node, "pads", &pads) ||
      pads.n != 2 * rank || !ifd_node_string_is(node, "mode", "constant", "constant") ||
      (ifd_node_has_input(node, 2) && !ifd_rw_scalar(rw, node->inputs[2], &value)) || value != 0 ||
      ifd_node_float(node, "value", 0) != 0)
    return IFD_OK;
  for (int i = 0; i < 2 * rank; i++)
    if (i % rank == 1 ? pads.v[i] < 0 : pads.v[i] != 0) return IFD_OK;
  int64_t before = pads.v[1], n = channels_of(unblock), all = before + n + pads.v[rank + 1];
  if (all > MOST) return IFD_OK;
  TRY(new_picking(rw, &p, 1, all));
  p.inputs[0] = unblock->inputs[0], p.channels[0] = n;
  for (int64_t i = 0; i < all; i++) p.order[i] = i < before || i >= before + n ? ZERO : i - before;
  return replace(rw, node->outputs[0], &p);
}

static ifd_status part(ifd_rewrite *rw, ifd_value *y, const ifd_node *unblock, int64_t first, int64_t n) {
  picking p;
  TRY(new_picking(rw, &p, 1, n));
  p.inputs[0] = unblock->inputs[0];
  p.channels[0] = channels_of(unblock);
  for (int64_t i = 0; i < n; i++) p.order[i] = first + i;
  return replace(rw, y, &p);
}

static ifd_status split(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *unblock = ifd_rw_own_producer(node->inputs[0], "Unblock");
  int64_t first = 0;
  if (!unblock || !along_channels(rw, node, 0)) return IFD_OK;
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_dim n = node->outputs[i] ? ifd_rw_dim(rw, node->outputs[i], 1) : -1;
    if (!ifd_dim_is_number(n) || n < 1) return ifd_rw_refuse(rw, "part %d has no known length", i);
  }
  for (int i = 0; i < node->n_outputs; i++) {
    int64_t n = ifd_rw_dim(rw, node->outputs[i], 1);
    TRY(part(rw, node->outputs[i], unblock, first, n));
    first += n;
  }
  return IFD_OK;
}

static ifd_status slice(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *unblock = ifd_rw_own_producer(node->inputs[0], "Unblock");
  int64_t first, axis, step = 1;
  if (!unblock || !ifd_ints_one(rw, node, "starts", &first) || !ifd_ints_one(rw, node, "axes", &axis))
    return IFD_OK;
  if (ifd_node_has_input(node, 4) && !ifd_ints_one(rw, node, "steps", &step)) return IFD_OK;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  ifd_dim n = ifd_rw_dim(rw, node->outputs[0], 1);
  if (first < 0) first += channels_of(unblock);
  if ((axis < 0 ? axis + rank : axis) != 1 || step != 1 || !ifd_dim_is_number(n) || n < 1 || first < 0 ||
      first + n > channels_of(unblock))
    return IFD_OK;
  return part(rw, node->outputs[0], unblock, first, n);
}

static ifd_status gather(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *unblock = ifd_rw_own_producer(node->inputs[0], "Unblock");
  const ifd_tensor *indices = ifd_rw_constant(rw, node->inputs[1]);
  picking p;
  if (!unblock || !along_channels(rw, node, 0) || !indices || indices->shape.rank != 1) return IFD_OK;
  int64_t n = ifd_tensor_count(indices);
  TRY(new_picking(rw, &p, 1, n));
  p.inputs[0] = unblock->inputs[0], p.channels[0] = channels_of(unblock);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = ifd_tensor_get_i64(indices, i);
    p.order[i] = at < 0 ? at + channels_of(unblock) : at;
    if (p.order[i] < 0 || p.order[i] >= channels_of(unblock)) return IFD_OK;
  }
  return n ? replace(rw, node->outputs[0], &p) : IFD_OK;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *outer) {
  const ifd_node *inner = ifd_rw_own_producer(outer->inputs[0], "PickChannels");
  const int64_t *channels, *order, *through;
  ifd_node *merged;
  if (!inner || outer->n_inputs != 1) return IFD_OK;
  picking p;
  ifd_node_ints(inner, "channels", &channels);
  int64_t n = ifd_node_ints(outer, "order", &order);
  TRY(new_picking(rw, &p, inner->n_inputs, n));
  ifd_node_ints(inner, "order", &through);
  for (int i = 0; i < p.n_inputs; i++) p.inputs[i] = inner->inputs[i], p.channels[i] = channels[i];
  for (int64_t i = 0; i < n; i++) p.order[i] = order[i] < 0 ? ZERO : through[order[i]];
  TRY(add_pick(rw, &merged, &p));
  return ifd_rw_replace(rw, outer->outputs[0], merged->outputs[0]);
}

const ifd_pass ifd_pass_pick_channels = {
    .summary = "joins, parts, shuffles and pads channels of blocked images as they are",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"Concat", IFD_EXACT, concat},
                                {"Split", IFD_EXACT, split},
                                {"Slice", IFD_EXACT, slice},
                                {"Gather", IFD_EXACT, gather},
                                {"Pad", IFD_EXACT, pad},
                                {"infold.PickChannels", IFD_EXACT, merge},
                                {0}},
};
