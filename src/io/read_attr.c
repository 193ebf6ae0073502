#include <string.h>

#include "io/read.h"

/* A bit for each type of which the attribute has a value field. */
static unsigned values_given(const Onnx__AttributeProto *a) {
  return (unsigned)(!!a->has_f << IFD_ATTR_FLOAT | !!a->has_i << IFD_ATTR_INT |
                    !!a->has_s << IFD_ATTR_STRING | !!a->t << IFD_ATTR_TENSOR | !!a->g << IFD_ATTR_GRAPH |
                    !!a->sparse_tensor << IFD_ATTR_SPARSE_TENSOR | !!a->tp << IFD_ATTR_TYPE_PROTO |
                    !!a->n_floats << IFD_ATTR_FLOATS | !!a->n_ints << IFD_ATTR_INTS |
                    !!a->n_strings << IFD_ATTR_STRINGS | !!a->n_tensors << IFD_ATTR_TENSORS |
                    !!a->n_graphs << IFD_ATTR_GRAPHS | !!a->n_sparse_tensors << IFD_ATTR_SPARSE_TENSORS |
                    !!a->n_type_protos << IFD_ATTR_TYPE_PROTOS);
}

/* Types whose value cannot be left out: there is no empty message. */
#define NEEDS_VALUE                                                                                          \
  (1u << IFD_ATTR_TENSOR | 1u << IFD_ATTR_GRAPH | 1u << IFD_ATTR_SPARSE_TENSOR | 1u << IFD_ATTR_TYPE_PROTO)

/* The type, which before IR version 2 the value alone told. */
static ifd_status read_attr_type(ifd_reader *r, ifd_attr_type *out, const Onnx__AttributeProto *proto) {
  unsigned given = values_given(proto);
  int type = (int)proto->type;
  if (!proto->has_type && r->model->ir_version < 2 && given) type = __builtin_ctz(given);
  EXPECT(r->err, type != IFD_ATTR_UNDEFINED, BAD_MODEL, "no type is given");
  EXPECT(r->err, type > 0 && type <= IFD_ATTR_TYPE_PROTOS, BAD_MODEL, "type %d does not exist", type);
  EXPECT(r->err, !(given & ~(1u << type)), BAD_MODEL, "the value is not of the type given, %d", type);
  *out = (ifd_attr_type)type;
  return IFD_OK;
}

static ifd_status read_tensors(ifd_reader *r, const ifd_tensor **out, Onnx__TensorProto **protos, int n) {
  ifd_tensor *tensors;
  ALLOC(r->err, tensors, ifd_new_array(r->arena, ifd_tensor, n));
  for (int i = 0; i < n; i++) TRY_IN(r->err, ifd_read_tensor(r, &tensors[i], protos[i]), "tensor %d", i);
  *out = tensors;
  return IFD_OK;
}

static ifd_status read_sparse_tensors(ifd_reader *r, const ifd_tensor **out, Onnx__SparseTensorProto **protos,
                                      int n) {
  ifd_tensor *tensors;
  ALLOC(r->err, tensors, ifd_new_array(r->arena, ifd_tensor, n));
  for (int i = 0; i < n; i++)
    TRY_IN(r->err, ifd_read_sparse_tensor(r, &tensors[i], protos[i]), "sparse tensor %d", i);
  *out = tensors;
  return IFD_OK;
}

static ifd_status read_strings(ifd_reader *r, const ifd_str **out, const ProtobufCBinaryData *from, int n) {
  ifd_str *strings;
  ALLOC(r->err, strings, ifd_new_array(r->arena, ifd_str, n));
  for (int i = 0; i < n; i++) strings[i] = (ifd_str){(const char *)from[i].data, from[i].len};
  *out = strings;
  return IFD_OK;
}

static ifd_status read_graphs(ifd_reader *r, ifd_graph ***out, ifd_graph *outer, Onnx__GraphProto **protos,
                              int n) {
  ALLOC(r->err, *out, ifd_new_array(r->arena, ifd_graph *, n));
  for (int i = 0; i < n; i++) {
    ALLOC(r->err, (*out)[i], ifd_graph_new(r->model, outer));
    TRY(ifd_read_graph(r, (*out)[i], protos[i]));
  }
  return IFD_OK;
}

/* The first of the types alone is kept of TYPE_PROTOS: no operator has such an attribute. */
static ifd_status read_types(ifd_reader *r, const ifd_type **out, Onnx__TypeProto **protos, int n) {
  for (int i = n - 1; i >= 0; i--) TRY(ifd_read_type(r, out, protos[i]));
  return IFD_OK;
}

static ifd_status read_list(ifd_reader *r, ifd_attr *a, ifd_graph *graph, const Onnx__AttributeProto *p) {
  size_t n = p->n_floats + p->n_ints + p->n_strings + p->n_tensors + p->n_graphs + p->n_sparse_tensors +
             p->n_type_protos; /* one of them */
  TRY(ifd_read_count(r->err, &a->n, n, "values"));
  switch (a->type) {
  case IFD_ATTR_FLOATS: a->floats = p->floats; return IFD_OK;
  case IFD_ATTR_INTS: a->ints = p->ints; return IFD_OK;
  case IFD_ATTR_STRINGS: return read_strings(r, &a->strings, p->strings, a->n);
  case IFD_ATTR_TENSORS: return read_tensors(r, &a->tensors, p->tensors, a->n);
  case IFD_ATTR_SPARSE_TENSORS: return read_sparse_tensors(r, &a->tensors, p->sparse_tensors, a->n);
  case IFD_ATTR_GRAPHS: return read_graphs(r, &a->graphs, graph, p->graphs, a->n);
  default: return read_types(r, &a->type_proto, p->type_protos, a->n);
  }
}

static ifd_status read_value(ifd_reader *r, ifd_attr *a, ifd_graph *graph, const Onnx__AttributeProto *p) {
  switch (a->type) {
  case IFD_ATTR_FLOAT: a->f = p->f; return IFD_OK;
  case IFD_ATTR_INT: a->i = p->i; return IFD_OK;
  case IFD_ATTR_STRING: a->s = (ifd_str){p->has_s ? (const char *)p->s.data : "", p->s.len}; return IFD_OK;
  case IFD_ATTR_TENSOR: return read_tensors(r, &a->tensor, (Onnx__TensorProto **)&p->t, 1);
  case IFD_ATTR_SPARSE_TENSOR:
    return read_sparse_tensors(r, &a->tensor, (Onnx__SparseTensorProto **)&p->sparse_tensor, 1);
  case IFD_ATTR_TYPE_PROTO: return ifd_read_type(r, &a->type_proto, p->tp);
  case IFD_ATTR_GRAPH:
    ALLOC(r->err, a->graph, ifd_graph_new(r->model, graph));
    return ifd_read_graph(r, a->graph, p->g);
  default: return read_list(r, a, graph, p);
  }
}

static ifd_status read_content(ifd_reader *r, ifd_attr *a, ifd_graph *graph,
                               const Onnx__AttributeProto *proto) {
  TRY(read_attr_type(r, &a->type, proto));
  if (proto->ref_attr_name && *proto->ref_attr_name) {
    EXPECT(r->err, graph->function, BAD_MODEL, "ref_attr_name '%s' outside of a function",
           proto->ref_attr_name);
    EXPECT(r->err, !values_given(proto), BAD_MODEL, "ref_attr_name '%s' and a value", proto->ref_attr_name);
    a->ref = proto->ref_attr_name;
    return IFD_OK;
  }
  EXPECT(r->err, values_given(proto) || !(NEEDS_VALUE >> a->type & 1), BAD_MODEL, "no value is given");
  return read_value(r, a, graph, proto);
}

ifd_status ifd_read_attr(ifd_reader *r, ifd_attr *out, ifd_graph *graph, const Onnx__AttributeProto *proto) {
  EXPECT(r->err, proto->name && *proto->name, BAD_MODEL, "an attribute has no name");
  ifd_attr a = {.name = proto->name};
  TRY_IN(r->err, read_content(r, &a, graph, proto), "attribute '%s'", proto->name);
  ifd_attr_origin *origin;
  ALLOC(r->err, origin, ifd_new(r->arena, ifd_attr_origin));
  *origin = (ifd_attr_origin){proto, a};
  a.origin = origin;
  *out = a;
  return IFD_OK;
}
