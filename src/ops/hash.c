/* com.microsoft.MurmurHash3, which scikit-learn's feature hashing becomes: the hash of the bytes of each
 * element, by Austin Appleby's MurmurHash3_x86_32, as ONNX Runtime's documentation of its operators has it.
 */
#include <string.h>

#include "ops/op.h"

static uint32_t turn(uint32_t v, int bits) { return v << bits | v >> (32 - bits); }

static uint32_t stir(uint32_t block) { return turn(block * 0xcc9e2d51u, 15) * 0x1b873593u; }

static uint32_t settle(uint32_t h) {
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

/* The bytes left over are a block with zeros above them, which is not mixed further. */
static uint32_t murmur3(const uint8_t *bytes, size_t len, uint32_t seed) {
  uint32_t h = seed, rest = 0;
  size_t i = 0;
  for (; i + 4 <= len; i += 4) {
    uint32_t block;
    memcpy(&block, bytes + i, 4);
    h = turn(h ^ stir(block), 13) * 5 + 0xe6546b64u;
  }
  memcpy(&rest, bytes + i, len - i);
  return settle(h ^ stir(rest) ^ (uint32_t)len);
}

static ifd_dtype hash_dtype(const ifd_node *node) {
  return ifd_node_int(node, "positive", 1) ? IFD_UINT32 : IFD_INT32;
}

/* Numbers that are no integers may have been read in double. */
static bool can_hash(ifd_dtype t) {
  return t == IFD_STRING || t == IFD_INT32 || t == IFD_UINT32 || t == IFD_INT64 || t == IFD_UINT64;
}

static ifd_status eval_MurmurHash3(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  uint32_t seed = (uint32_t)ifd_node_int(x->node, "seed", 0);
  size_t size = ifd_packed_bytes(in->dtype, 1);
  ifd_tensor *out;
  EXPECT(x->err, can_hash(in->dtype), UNSUPPORTED, "elements of type %s", ifd_dtype_name(in->dtype));
  TRY(ifd_eval_out(x, &out, 0, hash_dtype(x->node), &in->shape));
  for (int64_t i = 0; i < ifd_tensor_count(in); i++) {
    ifd_str s = {(const char *)in->data + (size_t)i * size, size};
    if (in->dtype == IFD_STRING) s = ((const ifd_str *)in->data)[i];
    ((uint32_t *)out->data)[i] = murmur3((const uint8_t *)s.s, s.len, seed);
  }
  return IFD_OK;
}

static ifd_status infer_MurmurHash3(ifd_infer *x) { return ifd_infer_same_as(x, 0, 0, hash_dtype(x->node)); }

const ifd_op ifd_ops_hash[] = {{.name = "MurmurHash3",
                                .domain = "com.microsoft",
                                .since = 1,
                                .infer = infer_MurmurHash3,
                                .eval = eval_MurmurHash3},
                               {0}};
