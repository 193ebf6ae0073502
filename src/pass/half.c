#include "pass/half.h"

#include "tensor/convert.h"
#include <string.h>

const char *ifd_half_rounding(ifd_dtype half) {
  return half == IFD_BFLOAT16 ? "RoundBFloat16" : "RoundFloat16";
}

/* What gives elements of its FLOAT inputs, or numbers that every type has. */
static const char keeping[] =
    "Relu Abs Neg Sign Ceil Floor Round Clip Max Min Where Identity Concat Split Slice Gather GatherElements "
    "GatherND Transpose Reshape Flatten Squeeze Unsqueeze Expand Tile Pad DepthToSpace SpaceToDepth "
    "ReverseSequence Trilu Compress MaxPool GlobalMaxPool ReduceMax ReduceMin";
static const char *const own_keeping[] = {"Block", "Unblock", "UnblockLast", "PickChannels", "MaxPool"};

/* The bounds of Clip were attributes, which may be any number. */
static bool keeps(const ifd_node *node) {
  if (ifd_node_is(node, "Clip") && node->opset < 11) return false;
  for (size_t i = 0; i < sizeof own_keeping / sizeof *own_keeping; i++)
    if (ifd_rw_is_own(node, own_keeping[i])) return true;
  return ifd_node_is_any(node, keeping);
}

typedef struct search {
  ifd_rewrite *rw;
  const char *rounding;
  int left; /* values that it may still look at */
} search;

static bool is_constant_rounded(const ifd_tensor *t, ifd_dtype half) {
  enum { MANY = 1 << 16 };
  int64_t n = t->splat ? 1 : ifd_tensor_count(t);
  if (n > MANY) return false;
  uint16_t narrow;
  float wide;
  for (int64_t i = 0; i < n; i++) {
    float x = (float)ifd_tensor_get_f64(t, i);
    ifd_store_f32(half, &narrow, &x, 1);
    ifd_load_f32(half, &narrow, &wide, 1);
    if (wide != x && x == x) return false;
  }
  return true;
}

static bool is_rounded(search *s, const ifd_value *v) {
  const ifd_tensor *constant = ifd_rw_constant(s->rw, v);
  ifd_dtype half = strcmp(s->rounding, "RoundBFloat16") == 0 ? IFD_BFLOAT16 : IFD_FLOAT16;
  if (ifd_rw_dtype(s->rw, v) != IFD_FLOAT || s->left-- == 0) return false;
  if (constant) return is_constant_rounded(constant, half);
  const ifd_node *node = v->producer;
  if (!node) return false;
  if (ifd_rw_is_own(node, s->rounding) || ifd_node_string_is(node, "rounding", "", s->rounding)) return true;
  if (ifd_node_is(node, "Cast")) return ifd_rw_dtype(s->rw, node->inputs[0]) == half;
  if (!keeps(node)) return false;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && ifd_rw_dtype(s->rw, node->inputs[i]) == IFD_FLOAT &&
        !is_rounded(s, node->inputs[i]))
      return false;
  return true;
}

bool ifd_rw_is_rounded(ifd_rewrite *rw, const ifd_value *v, const char *rounding) {
  enum { VALUES = 64 };
  return is_rounded(&(search){rw, rounding, VALUES}, v);
}

ifd_status ifd_half_widen(ifd_rewrite *rw, ifd_tensor *wide, const ifd_tensor *c) {
  enum { SOME = 4096 };
  uint16_t narrow[SOME];
  int64_t count = ifd_tensor_count(c), n = c->splat && count ? 1 : count;
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), wide, ifd_rw_arena(rw), IFD_FLOAT, &(ifd_shape){1, {n}}));
  for (int64_t i = 0, some; i < n; i += some) {
    some = ifd_min_i64(SOME, n - i);
    memcpy(narrow, (const char *)c->data + i * (int64_t)sizeof *narrow, (size_t)some * sizeof *narrow);
    ifd_load_f32(c->dtype, narrow, (float *)wide->data + i, some);
  }
  wide->shape = c->shape, wide->splat = c->splat;
  return IFD_OK;
}
