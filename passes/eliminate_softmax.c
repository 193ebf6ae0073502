#include "pass/pass.h"

/* The largest of a Softmax is where the largest of its input is: ArgMax needs none. Where the two largest are
 * so near that the Softmax rounds them to one number, the input tells them apart. */

/* The axis from the front, or -1: before opset 13 all axes from it on were one. */
static int softmax_axis(const ifd_node *softmax, int rank) {
  int axis = (int)ifd_node_int(softmax, "axis", softmax->opset < 13 ? 1 : -1);
  if (axis < 0) axis += rank;
  bool one_axis = softmax->opset >= 13 || axis == rank - 1;
  return one_axis && axis < rank ? axis : -1;
}

static ifd_status eliminate(ifd_rewrite *rw, ifd_node *argmax) {
  ifd_value *p = argmax->inputs[0];
  ifd_node *softmax = ifd_rw_sole_producer(p, "Softmax"), *node;
  if (!softmax) softmax = ifd_rw_sole_producer(p, "LogSoftmax");
  int rank = ifd_rw_rank(rw, p);
  if (!softmax || rank < 1) return IFD_OK;
  int64_t axis = ifd_node_int(argmax, "axis", 0);
  if (axis < 0) axis += rank;
  if (softmax_axis(softmax, rank) != axis)
    return ifd_rw_refuse(rw, "the Softmax before it is along other axes");
  TRY(ifd_rw_add_like(rw, &node, argmax, softmax->inputs, 1));
  return ifd_rw_replace(rw, argmax->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_eliminate_softmax = {
    .summary = "takes ArgMax of what a Softmax is of",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"ArgMax", IFD_REASSOCIATES, eliminate}, {0}},
};
