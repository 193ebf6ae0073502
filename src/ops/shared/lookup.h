/* Elements found by their value: a hash table over the elements of a tensor, numbers or strings. Of equal
 * keys the last one counts. Integers are found by any integer type, floats by their own type. */
#ifndef IFD_OPS_SHARED_LOOKUP_H
#define IFD_OPS_SHARED_LOOKUP_H

#include "ops/op.h"

typedef enum ifd_lookup_rule {
  IFD_LOOKUP_BITS,  /* floats are equal when their bits are */
  IFD_LOOKUP_VALUES /* when their values are, and every NaN equals every other */
} ifd_lookup_rule;

typedef struct ifd_lookup_slot {
  uint64_t bits; /* equal for equal elements; of strings the hash */
  int64_t key;   /* 1 + index of a key; 0: free */
} ifd_lookup_slot;

typedef struct ifd_lookup {
  ifd_tensor keys; /* dense, unpacked; its data is borrowed */
  ifd_lookup_rule rule;
  ifd_lookup_slot *slots;
  uint64_t mask;
  /* Integer keys that lie close together: key k is entry k - least. NULL: they do not. */
  int32_t *direct; /* 1 + index of a key; 0: none */
  int64_t least;
  uint64_t n_direct;
} ifd_lookup;

ifd_status ifd_lookup_init(ifd_error *err, ifd_lookup *out, ifd_arena *arena, const ifd_tensor *keys,
                           ifd_lookup_rule rule);
/* The index of the key that element i of an array equals, or -1. The elements are strings if the keys are. */
int64_t ifd_lookup_find(const ifd_lookup *l, ifd_dtype dtype, const void *data, int64_t i);

/* A tensor [n] over the elements of an attribute that is a list, borrowed; false when the node does not have
 * it or it is empty. */
bool ifd_attr_as_tensor(const ifd_node *node, const char *name, ifd_tensor *out);

#endif
