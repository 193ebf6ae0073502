#include "ir/equal.h"

#include <string.h>

/* ---- tensors ---- */

enum { BLOCK = 1024 }; /* elements looked at together; a multiple of those packed in a byte */

/* Elements [from, from + n) in memory form: where they lie, or unpacked into block. */
static const void *block_of(const ifd_tensor *t, int64_t from, int64_t n, void *block) {
  size_t size = ifd_dtype_size(t->dtype);
  if (!t->splat && !t->packed) return (const char *)t->data + (size_t)from * size;
  ifd_tensor part = *t;
  part.shape = (ifd_shape){.rank = 1, .dim = {n}};
  if (!t->splat) part.data = (char *)t->data + ifd_packed_bytes(t->dtype, from);
  ifd_tensor_expand(&part, block);
  return block;
}

static bool strings_equal(const ifd_str *a, const ifd_str *b, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (a[i].len != b[i].len || (a[i].len && memcmp(a[i].s, b[i].s, a[i].len) != 0)) return false;
  return true;
}

bool ifd_tensor_equal(const ifd_tensor *a, const ifd_tensor *b) {
  if (a->dtype != b->dtype || !ifd_shape_equal(&a->shape, &b->shape)) return false;
  _Alignas(16) char block_a[BLOCK * 16], block_b[BLOCK * 16];
  int64_t count = a->splat && b->splat && ifd_tensor_count(a) ? 1 : ifd_tensor_count(a);
  for (int64_t i = 0; i < count; i += BLOCK) {
    int64_t n = ifd_min_i64(BLOCK, count - i);
    const void *x = block_of(a, i, n, block_a), *y = block_of(b, i, n, block_b);
    if (a->dtype == IFD_STRING ? !strings_equal(x, y, n) : memcmp(x, y, (size_t)n * ifd_dtype_size(a->dtype)))
      return false;
  }
  return true;
}

static uint64_t hash_strings(const ifd_str *s, int64_t n, uint64_t h) {
  for (int64_t i = 0; i < n; i++) h = ifd_hash_mix(h, ifd_hash_bytes(s[i].s, s[i].len));
  return h;
}

/* Of up to `most` elements of every step-th block. */
static uint64_t hash_blocks(const ifd_tensor *t, int64_t step, int64_t most) {
  _Alignas(16) char block[BLOCK * 16];
  uint64_t h = ifd_hash_mix((uint64_t)t->dtype, (uint64_t)t->shape.rank);
  for (int i = 0; i < t->shape.rank; i++) h = ifd_hash_mix(h, (uint64_t)t->shape.dim[i]);
  int64_t count = ifd_tensor_count(t);
  for (int64_t i = 0; i < count; i += step * BLOCK) {
    int64_t n = ifd_min_i64(most, count - i);
    const void *x = block_of(t, i, n, block);
    h = t->dtype == IFD_STRING ? hash_strings(x, n, h)
                               : ifd_hash_mix(h, ifd_hash_bytes(x, (size_t)n * ifd_dtype_size(t->dtype)));
  }
  return h;
}

uint64_t ifd_tensor_hash(const ifd_tensor *t) { return hash_blocks(t, 1, BLOCK); }

uint64_t ifd_tensor_sketch(const ifd_tensor *t) {
  enum { BLOCKS = 8, FEW = 64 };
  return hash_blocks(t, 1 + ifd_tensor_count(t) / (BLOCKS * BLOCK), FEW);
}

/* ---- attributes ---- */

static bool text_equal(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool bytes_equal(const void *a, const void *b, size_t n) { return n == 0 || memcmp(a, b, n) == 0; }

static bool tensors_equal(const ifd_tensor *a, const ifd_tensor *b, int n) {
  for (int i = 0; i < n; i++)
    if (!ifd_tensor_equal(&a[i], &b[i])) return false;
  return true;
}

static bool types_equal(const ifd_type *a, const ifd_type *b) {
  return a == b || (a && b && ifd_type_equal(a, b));
}

static bool values_equal(const ifd_attr *a, const ifd_attr *b) {
  size_t n = (size_t)a->n;
  switch (a->type) {
  case IFD_ATTR_FLOAT: return bytes_equal(&a->f, &b->f, sizeof a->f);
  case IFD_ATTR_INT: return a->i == b->i;
  case IFD_ATTR_STRING: return strings_equal(&a->s, &b->s, 1);
  case IFD_ATTR_TENSOR:
  case IFD_ATTR_SPARSE_TENSOR: return tensors_equal(a->tensor, b->tensor, 1);
  case IFD_ATTR_GRAPH: return a->graph == b->graph;
  case IFD_ATTR_FLOATS: return bytes_equal(a->floats, b->floats, n * sizeof *a->floats);
  case IFD_ATTR_INTS: return bytes_equal(a->ints, b->ints, n * sizeof *a->ints);
  case IFD_ATTR_STRINGS: return strings_equal(a->strings, b->strings, a->n);
  case IFD_ATTR_TENSORS:
  case IFD_ATTR_SPARSE_TENSORS: return tensors_equal(a->tensors, b->tensors, a->n);
  case IFD_ATTR_GRAPHS: return bytes_equal(a->graphs, b->graphs, n * sizeof *a->graphs);
  case IFD_ATTR_TYPE_PROTO:
  case IFD_ATTR_TYPE_PROTOS: return types_equal(a->type_proto, b->type_proto);
  default: return true;
  }
}

/* The same type, reference and values; graphs only when they are the same graph. */
static bool attr_equal(const ifd_attr *a, const ifd_attr *b) {
  if (strcmp(a->name, b->name) != 0 || a->type != b->type || a->n != b->n || !text_equal(a->ref, b->ref))
    return false;
  return a->ref || values_equal(a, b);
}

static uint64_t hash_values(const ifd_attr *a) {
  size_t n = (size_t)a->n;
  uint64_t h = 0;
  switch (a->type) {
  case IFD_ATTR_FLOAT: return ifd_hash_bytes(&a->f, sizeof a->f);
  case IFD_ATTR_INT: return ifd_hash_bytes(&a->i, sizeof a->i);
  case IFD_ATTR_STRING: return hash_strings(&a->s, 1, 0);
  case IFD_ATTR_TENSOR:
  case IFD_ATTR_SPARSE_TENSOR: return ifd_tensor_sketch(a->tensor);
  case IFD_ATTR_FLOATS: return ifd_hash_bytes(a->floats, n * sizeof *a->floats);
  case IFD_ATTR_INTS: return ifd_hash_bytes(a->ints, n * sizeof *a->ints);
  case IFD_ATTR_STRINGS: return hash_strings(a->strings, a->n, 0);
  case IFD_ATTR_TENSORS:
  case IFD_ATTR_SPARSE_TENSORS:
    for (int i = 0; i < a->n; i++) h = ifd_hash_mix(h, ifd_tensor_sketch(&a->tensors[i]));
    return h;
  default: return h; /* graphs and types: rare, and told apart by values_equal */
  }
}

static uint64_t hash_attr(const ifd_attr *attr) {
  uint64_t h = ifd_hash_mix(ifd_hash_bytes(attr->name, strlen(attr->name)), (uint64_t)attr->type);
  return ifd_hash_mix(h, attr->ref ? ifd_hash_bytes(attr->ref, strlen(attr->ref)) : hash_values(attr));
}

/* ---- nodes ---- */

bool ifd_node_equal(const ifd_node *a, const ifd_node *b) {
  if (strcmp(a->op_type, b->op_type) != 0 || strcmp(a->domain, b->domain) != 0 ||
      strcmp(a->overload, b->overload) != 0)
    return false;
  if (a->opset != b->opset || a->n_inputs != b->n_inputs || a->n_outputs != b->n_outputs ||
      a->n_attrs != b->n_attrs || !bytes_equal(a->inputs, b->inputs, (size_t)a->n_inputs * sizeof *a->inputs))
    return false;
  for (int i = 0; i < a->n_attrs; i++) {
    const ifd_attr *other = ifd_node_find_attr(b, a->attrs[i].name);
    if (!other || !attr_equal(&a->attrs[i], other)) return false;
  }
  return true;
}

uint64_t ifd_node_hash(const ifd_node *node) {
  uint64_t h = ifd_hash_bytes(node->op_type, strlen(node->op_type)), attrs = 0;
  for (int i = 0; i < node->n_inputs; i++)
    h = ifd_hash_mix(h, node->inputs[i] ? (uint64_t)node->inputs[i]->id + 1 : 0);
  for (int i = 0; i < node->n_attrs; i++) attrs += hash_attr(&node->attrs[i]); /* in any order */
  return ifd_hash_mix(h, attrs);
}
