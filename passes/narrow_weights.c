#include "ops/shared/narrow.h"
#include "pass/match.h"

#include <string.h>

/* Networks trained in 16-bit floats are often exported in FLOAT, with weights whose lower bits are all zeros.
 * Large matrices of such weights are held as what they are: half the memory, for a row half the bytes that
 * are read, and the same bits. */

enum { SOME = 4096 };

/* n floats, as their bits, in 16 of them; false where one of them has more. */
typedef bool narrowing(uint16_t *to, const uint32_t *from, int64_t n);

static bool to_bfloat16(uint16_t *to, const uint32_t *from, int64_t n) {
  uint32_t lost = 0;
  for (int64_t i = 0; i < n; i++) lost |= from[i] & 0xffff, to[i] = (uint16_t)(from[i] >> 16);
  return !lost;
}

/* Those below 2^-14 are multiples of 2^-24. */
static bool to_float16(uint16_t *to, const uint32_t *from, int64_t n) {
  int32_t lost = 0;
  for (int64_t i = 0; i < n; i++) {
    const int32_t size = (int32_t)(from[i] & 0x7fffffff), sign = (int32_t)(from[i] >> 16 & 0x8000);
    float x;
    memcpy(&x, &size, sizeof x);
    const bool small = x < 0x1p-14f, fits = x <= 65504;
    const float steps = small ? x * 0x1p24f : 0;
    const int32_t whole = (int32_t)steps;
    lost |= small ? (float)whole != steps : (size & 0x1fff) | !fits;
    to[i] = (uint16_t)(sign | (small ? whole : (size >> 13) - (112 << 10)));
  }
  return !lost;
}

/* The constant of this type, or NULL. The first block mostly tells. */
static ifd_status narrow(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *t, ifd_dtype dtype,
                         narrowing *narrowed, const char *hint) {
  uint32_t block[SOME];
  uint16_t first[SOME];
  int64_t n = ifd_tensor_count(t);
  ifd_tensor halves;
  *out = NULL;
  memcpy(block, t->data, sizeof block);
  if (!narrowed(first, block, SOME)) return IFD_OK;
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), &halves, ifd_rw_arena(rw), dtype, &t->shape));
  for (int64_t i = 0, some; i < n; i += some) {
    some = ifd_min_i64(SOME, n - i);
    memcpy(block, (const char *)t->data + i * (int64_t)sizeof *block, (size_t)some * sizeof *block);
    if (!narrowed((uint16_t *)halves.data + i, block, some)) return IFD_OK;
  }
  return ifd_rw_add_constant(rw, out, &halves, hint);
}

static ifd_status hold(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *t = ifd_rw_constant(rw, ifd_node_input(node, 1));
  ifd_value *in[3] = {ifd_node_input(node, 0), NULL, ifd_node_input(node, 2)};
  ifd_node *made;
  if (!t || t->dtype != IFD_FLOAT || t->shape.rank != 2 || t->splat ||
      ifd_tensor_count(t) < IFD_NARROW_LEAST || ifd_value_n_readers(node->inputs[1]) != 1 ||
      !ifd_rw_is_product(rw, node))
    return IFD_OK;
  TRY(narrow(rw, &in[1], t, IFD_BFLOAT16, to_bfloat16, node->inputs[1]->name));
  if (!in[1]) TRY(narrow(rw, &in[1], t, IFD_FLOAT16, to_float16, node->inputs[1]->name));
  if (!in[1]) return ifd_rw_refuse(rw, "its weights have more bits");
  TRY(ifd_rw_add_node(rw, &made, "infold.MatMul", in, in[2] ? 3 : 2, 1));
  made->name = node->name;
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "transB", ifd_node_int(node, "transB", 0)));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_narrow_weights = {
    .summary = "holds large matrices of floats that have 16 bits as these",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"MatMul Gemm", IFD_EXACT, hold}, {0}},
};
