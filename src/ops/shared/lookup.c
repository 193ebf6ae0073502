#include "ops/shared/lookup.h"

#include <string.h>

#include "tensor/convert.h"

/* Bits that are equal where elements are. */
static uint64_t bits_of(const ifd_lookup *l, const ifd_tensor *t, int64_t i) {
  uint64_t bits;
  double v;
  if (!ifd_dtype_is_float(t->dtype)) return (uint64_t)ifd_tensor_get_i64(t, i);
  v = ifd_tensor_get_f64(t, i);
  if (l->rule == IFD_LOOKUP_BITS) {
    bits = 0;
    memcpy(&bits, (const char *)t->data + (size_t)i * ifd_dtype_size(t->dtype), ifd_dtype_size(t->dtype));
    return bits;
  }
  if (v == 0 || v != v) return v == 0 ? 0 : UINT64_MAX;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static bool equal(const ifd_lookup *l, const ifd_tensor *t, int64_t i, int64_t key) {
  if (t->dtype != IFD_STRING) return bits_of(l, t, i) == bits_of(l, l->keys, key);
  const ifd_str *a = (const ifd_str *)t->data + i, *b = (const ifd_str *)l->keys->data + key;
  return a->len == b->len && (a->len == 0 || !memcmp(a->s, b->s, a->len));
}

/* The slot of the key that the element equals, or the free one where it belongs. */
static int64_t *slot_of(const ifd_lookup *l, const ifd_tensor *t, int64_t i) {
  const ifd_str *s = t->dtype == IFD_STRING ? (const ifd_str *)t->data + i : NULL;
  uint64_t hash = s ? ifd_hash_bytes(s->s, s->len) : ifd_hash_mix(bits_of(l, t, i), 0);
  while (l->slots[hash & l->mask] && !equal(l, t, i, l->slots[hash & l->mask] - 1)) hash++;
  return &l->slots[hash & l->mask];
}

ifd_status ifd_lookup_init(ifd_error *err, ifd_lookup *out, ifd_arena *arena, const ifd_tensor *keys,
                           ifd_lookup_rule rule) {
  int64_t n = ifd_tensor_count(keys);
  ifd_lookup l = {.keys = keys, .rule = rule, .mask = 7};
  while (l.mask < (uint64_t)n * 2) l.mask = l.mask * 2 + 1;
  ALLOC(err, l.slots, ifd_new_array(arena, int64_t, l.mask + 1));
  for (int64_t i = 0; i < n; i++) *slot_of(&l, keys, i) = i + 1;
  *out = l;
  return IFD_OK;
}

int64_t ifd_lookup_find(const ifd_lookup *l, const ifd_tensor *t, int64_t i) { return *slot_of(l, t, i) - 1; }

bool ifd_attr_as_tensor(const ifd_node *node, const char *name, ifd_tensor *out) {
  static const ifd_dtype dtypes[] = {
      [IFD_ATTR_FLOATS] = IFD_FLOAT, [IFD_ATTR_INTS] = IFD_INT64, [IFD_ATTR_STRINGS] = IFD_STRING};
  const ifd_attr *a = ifd_node_find_attr(node, name);
  bool list = a && (a->type == IFD_ATTR_FLOATS || a->type == IFD_ATTR_INTS || a->type == IFD_ATTR_STRINGS);
  if (!list || a->n == 0) return false;
  *out = (ifd_tensor){.dtype = dtypes[a->type], .shape = {1, {a->n}}, .data = (void *)a->floats};
  return true;
}
