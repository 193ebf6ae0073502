#include <string.h>

#include "io/read.h"
#include "io/write.h"

/* ---- comparing with the origin ---- */

static bool strings_equal(const ifd_str *a, const ifd_str *b, int n) {
  for (int i = 0; i < n; i++)
    if (a[i].len != b[i].len || (a[i].len && memcmp(a[i].s, b[i].s, a[i].len) != 0)) return false;
  return true;
}

static bool tensors_are(const ifd_tensor *a, const ifd_tensor *b, int n) {
  for (int i = 0; i < n; i++)
    if (!ifd_tensor_is(&a[i], &b[i])) return false;
  return true;
}

static bool bytes_equal(const void *a, const void *b, size_t n) { return !n || memcmp(a, b, n) == 0; }

/* Graphs are compared by being written. */
static bool value_unchanged(const ifd_attr *a, const ifd_attr *b) {
  size_t n = (size_t)a->n;
  switch (a->type) {
  case IFD_ATTR_FLOAT: return bytes_equal(&a->f, &b->f, sizeof a->f);
  case IFD_ATTR_INT: return a->i == b->i;
  case IFD_ATTR_STRING: return strings_equal(&a->s, &b->s, 1);
  case IFD_ATTR_FLOATS: return bytes_equal(a->floats, b->floats, n * sizeof *a->floats);
  case IFD_ATTR_INTS: return bytes_equal(a->ints, b->ints, n * sizeof *a->ints);
  case IFD_ATTR_STRINGS: return strings_equal(a->strings, b->strings, a->n);
  case IFD_ATTR_TENSOR:
  case IFD_ATTR_SPARSE_TENSOR: return tensors_are(a->tensor, b->tensor, 1);
  case IFD_ATTR_TENSORS:
  case IFD_ATTR_SPARSE_TENSORS: return tensors_are(a->tensors, b->tensors, a->n);
  case IFD_ATTR_TYPE_PROTO:
    return a->type_proto == b->type_proto || ifd_type_equal(a->type_proto, b->type_proto);
  default: return true;
  }
}

static bool unchanged(const ifd_attr *a, const ifd_attr *b) {
  if (a->type != b->type || a->n != b->n || strcmp(a->name, b->name) != 0) return false;
  if (a->ref || b->ref) return a->ref && b->ref && strcmp(a->ref, b->ref) == 0;
  return value_unchanged(a, b);
}

/* ---- making ---- */

static ifd_status put_strings(ifd_message_writer *w, Onnx__AttributeProto *p, const ifd_attr *a) {
  p->n_strings = (size_t)a->n;
  ALLOC(w->err, p->strings, ifd_new_array(w->arena, ProtobufCBinaryData, a->n));
  for (int i = 0; i < a->n; i++)
    p->strings[i] = (ProtobufCBinaryData){a->strings[i].len, (uint8_t *)a->strings[i].s};
  return IFD_OK;
}

static ifd_status put_tensors(ifd_message_writer *w, Onnx__AttributeProto *p, const ifd_attr *a) {
  p->n_tensors = (size_t)a->n;
  ALLOC(w->err, p->tensors, ifd_new_array(w->arena, Onnx__TensorProto *, a->n));
  for (int i = 0; i < a->n; i++) TRY(ifd_write_tensor(w, &p->tensors[i], &a->tensors[i], NULL));
  return IFD_OK;
}

static ifd_status put_graphs(ifd_message_writer *w, Onnx__AttributeProto *p, const ifd_attr *a) {
  p->n_graphs = (size_t)a->n;
  ALLOC(w->err, p->graphs, ifd_new_array(w->arena, Onnx__GraphProto *, a->n));
  for (int i = 0; i < a->n; i++) TRY(ifd_write_graph(w, &p->graphs[i], a->graphs[i]));
  return IFD_OK;
}

static ifd_status put_value(ifd_message_writer *w, Onnx__AttributeProto *p, const ifd_attr *a) {
  switch (a->type) {
  case IFD_ATTR_FLOAT:
    p->has_f = true;
    p->f = a->f;
    return IFD_OK;
  case IFD_ATTR_INT:
    p->has_i = true;
    p->i = a->i;
    return IFD_OK;
  case IFD_ATTR_STRING:
    p->has_s = true;
    p->s = (ProtobufCBinaryData){a->s.len, (uint8_t *)a->s.s};
    return IFD_OK;
  case IFD_ATTR_FLOATS:
    p->n_floats = (size_t)a->n;
    p->floats = (float *)a->floats;
    return IFD_OK;
  case IFD_ATTR_INTS:
    p->n_ints = (size_t)a->n;
    p->ints = (int64_t *)a->ints;
    return IFD_OK;
  case IFD_ATTR_STRINGS: return put_strings(w, p, a);
  case IFD_ATTR_TENSOR: return ifd_write_tensor(w, &p->t, a->tensor, NULL);
  case IFD_ATTR_TENSORS: return put_tensors(w, p, a);
  case IFD_ATTR_TYPE_PROTO: return ifd_write_type(w, &p->tp, a->type_proto);
  case IFD_ATTR_GRAPH: return ifd_write_graph(w, &p->g, a->graph);
  case IFD_ATTR_GRAPHS: return put_graphs(w, p, a);
  default:
    FAIL(w->err, UNSUPPORTED, "attribute '%s': a changed value of type %d cannot be written", a->name,
         a->type);
  }
}

/* Without its value, but with what else the origin says (doc_string, fields unknown here). */
static ifd_status begin_attr(ifd_message_writer *w, Onnx__AttributeProto **out, const ifd_attr *a,
                             const Onnx__AttributeProto *origin) {
  Onnx__AttributeProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__attribute_proto__descriptor, NULL));
  if (origin) {
    p->base = origin->base;
    p->doc_string = origin->doc_string;
  }
  p->name = (char *)a->name;
  p->has_type = true;
  p->type = (Onnx__AttributeProto__AttributeType)a->type;
  *out = p;
  return IFD_OK;
}

static bool is_external(const Onnx__AttributeProto *p) {
  for (size_t i = 0; i < p->n_tensors; i++)
    if (ifd_is_external(p->tensors[i])) return true;
  return p->t && ifd_is_external(p->t);
}

ifd_status ifd_write_attr(ifd_message_writer *w, Onnx__AttributeProto **out, const ifd_attr *a) {
  const ifd_attr_origin *origin = a->origin;
  bool same = origin && unchanged(a, &origin->as_read);
  bool has_graphs = !a->ref && (a->type == IFD_ATTR_GRAPH || a->type == IFD_ATTR_GRAPHS);
  if (same && !has_graphs && !(w->elsewhere && is_external(origin->proto))) {
    *out = (Onnx__AttributeProto *)origin->proto;
    return IFD_OK;
  }
  TRY(begin_attr(w, out, a, origin ? origin->proto : NULL));
  if (same) (*out)->has_type = origin->proto->has_type;
  if (!a->ref) return put_value(w, *out, a);
  (*out)->ref_attr_name = (char *)a->ref;
  return IFD_OK;
}
