#include "ops/shared/lookup.h"

#include <string.h>

#include "tensor/convert.h"

/* Bits of a float that are equal where elements are. */
static uint64_t float_bits(ifd_lookup_rule rule, ifd_dtype dtype, const char *element) {
  uint64_t bits = 0;
  double v;
  if (rule == IFD_LOOKUP_BITS) {
    memcpy(&bits, element, ifd_dtype_size(dtype));
    return bits;
  }
  ifd_load_f64(dtype, element, &v, 1);
  if (v == 0 || v != v) return v == 0 ? 0 : UINT64_MAX;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static uint64_t bits_of(ifd_lookup_rule rule, ifd_dtype dtype, const void *data, int64_t i) {
  const char *element = (const char *)data + (size_t)i * ifd_dtype_size(dtype);
  if (dtype == IFD_INT64) return *(const uint64_t *)element;
  if (dtype == IFD_STRING)
    return ifd_hash_bytes(((const ifd_str *)element)->s, ((const ifd_str *)element)->len);
  if (ifd_dtype_is_float(dtype)) return float_bits(rule, dtype, element);
  int64_t v;
  ifd_load_i64(dtype, element, &v, 1);
  return (uint64_t)v;
}

static bool same_text(const ifd_lookup *l, int64_t key, const void *data, int64_t i) {
  const ifd_str *a = (const ifd_str *)l->keys.data + key, *b = (const ifd_str *)data + i;
  return a->len == b->len && (a->len == 0 || !memcmp(a->s, b->s, a->len));
}

/* The slot of the key that the element equals, or the free one where it belongs. */
static ifd_lookup_slot *slot_of(const ifd_lookup *l, uint64_t bits, ifd_dtype dtype, const void *data,
                                int64_t i) {
  uint64_t at = dtype == IFD_STRING ? bits : ifd_hash_mix(bits, 0);
  for (;; at++) {
    ifd_lookup_slot *s = &l->slots[at & l->mask];
    if (!s->key) return s;
    if (s->bits == bits && (dtype != IFD_STRING || same_text(l, s->key - 1, data, i))) return s;
  }
}

/* A table of all integers from the least key to the greatest, where those are few for so many keys. */
static ifd_status init_direct(ifd_error *err, ifd_lookup *l, ifd_arena *arena) {
  enum { ENTRIES_PER_KEY = 8 };
  int64_t n = ifd_tensor_count(&l->keys);
  const int64_t *keys = l->keys.data;
  int64_t least = INT64_MAX, greatest = INT64_MIN;
  if (l->keys.dtype != IFD_INT64 || n == 0 || n > INT32_MAX / ENTRIES_PER_KEY) return IFD_OK;
  for (int64_t i = 0; i < n; i++) {
    least = ifd_min_i64(least, keys[i]);
    greatest = ifd_max_i64(greatest, keys[i]);
  }
  uint64_t span = (uint64_t)greatest - (uint64_t)least;
  if (span >= (uint64_t)n * ENTRIES_PER_KEY) return IFD_OK;
  l->least = least, l->n_direct = span + 1;
  ALLOC(err, l->direct, ifd_new_array(arena, int32_t, (int64_t)l->n_direct));
  for (int64_t i = 0; i < n; i++) l->direct[keys[i] - least] = (int32_t)i + 1;
  return IFD_OK;
}

ifd_status ifd_lookup_init(ifd_error *err, ifd_lookup *out, ifd_arena *arena, const ifd_tensor *keys,
                           ifd_lookup_rule rule) {
  int64_t n = ifd_tensor_count(keys);
  ifd_lookup l = {.keys = *keys, .rule = rule, .mask = 7};
  while (l.mask < (uint64_t)n * 2) l.mask = l.mask * 2 + 1;
  ALLOC(err, l.slots, ifd_new_array(arena, ifd_lookup_slot, l.mask + 1));
  for (int64_t i = 0; i < n; i++) {
    uint64_t bits = bits_of(rule, keys->dtype, keys->data, i);
    *slot_of(&l, bits, keys->dtype, keys->data, i) = (ifd_lookup_slot){bits, i + 1};
  }
  TRY(init_direct(err, &l, arena));
  *out = l;
  return IFD_OK;
}

int64_t ifd_lookup_find(const ifd_lookup *l, ifd_dtype dtype, const void *data, int64_t i) {
  if (l->direct && dtype == IFD_INT64) {
    uint64_t at = (uint64_t)((const int64_t *)data)[i] - (uint64_t)l->least;
    return at < l->n_direct ? l->direct[at] - 1 : -1;
  }
  return slot_of(l, bits_of(l->rule, dtype, data, i), dtype, data, i)->key - 1;
}

bool ifd_attr_as_tensor(const ifd_node *node, const char *name, ifd_tensor *out) {
  static const ifd_dtype dtypes[] = {
      [IFD_ATTR_FLOATS] = IFD_FLOAT, [IFD_ATTR_INTS] = IFD_INT64, [IFD_ATTR_STRINGS] = IFD_STRING};
  const ifd_attr *a = ifd_node_find_attr(node, name);
  bool list = a && (a->type == IFD_ATTR_FLOATS || a->type == IFD_ATTR_INTS || a->type == IFD_ATTR_STRINGS);
  if (!list || a->n == 0) return false;
  *out = (ifd_tensor){.dtype = dtypes[a->type], .shape = {1, {a->n}}, .data = (void *)a->floats};
  return true;
}
