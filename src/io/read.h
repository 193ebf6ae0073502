/* What the readers of protos share; for src/io/ alone.
 *
 * A reader turns unpacked messages into what lies in its arena. Tensors borrow the bytes of the message
 * (which for payloads are those of the mapped file) wherever dtype and alignment allow, so messages and files
 * must outlive what is read from them. */
#ifndef IFD_IO_READ_H
#define IFD_IO_READ_H

#include "io/external_data.h"
#include "io/file.h"
#include "ir/ir.h"
#include "onnx.pb-c.h"

typedef struct ifd_reader {
  ifd_error *err;
  ifd_arena *arena; /* where everything is made: the model's */
  ifd_files *files; /* external data; NULL: refused */
  ifd_model *model; /* NULL when a lone tensor is read */
  bool packs;       /* large tensors may stay packed where they are not aligned: initializers */
} ifd_reader;

/* Where an initializer came from: the message, and the tensor as it was read, to see whether it still is. */
typedef struct ifd_tensor_origin {
  const ProtobufCMessage *proto; /* TensorProto or SparseTensorProto */
  ifd_tensor as_read;
} ifd_tensor_origin;

/* The same for an attribute. */
typedef struct ifd_attr_origin {
  const Onnx__AttributeProto *proto;
  ifd_attr as_read;
} ifd_attr_origin;

/* "" for an absent string. */
static inline const char *ifd_text(const char *s) { return s ? s : ""; }

/* A count of a repeated field as the int that ir uses. */
ifd_status ifd_read_count(ifd_error *err, int *out, size_t n, const char *field);

/* A type, or &ifd_type_unknown where the proto says nothing of use. */
ifd_status ifd_read_type(ifd_reader *r, const ifd_type **out, const Onnx__TypeProto *proto);

/* An element type that this version knows. BAD_MODEL otherwise. */
ifd_status ifd_read_dtype(ifd_error *err, ifd_dtype *out, int64_t number);

/* A tensor; elements narrower than a byte stay packed. */
ifd_status ifd_read_tensor(ifd_reader *r, ifd_tensor *out, const Onnx__TensorProto *proto);
/* A sparse tensor, made dense. */
ifd_status ifd_read_sparse_tensor(ifd_reader *r, ifd_tensor *out, const Onnx__SparseTensorProto *proto);

/* The contents of a graph into an empty one: inputs, initializers, nodes with their subgraphs, outputs. */
ifd_status ifd_read_graph(ifd_reader *r, ifd_graph *graph, const Onnx__GraphProto *proto);
/* Nodes are to stand sorted, but converters append what they insert, and other readers sort: *nodes becomes
 * an array in which each node stands behind those it reads, else in the file's order; it stays where there is
 * a cycle. */
ifd_status ifd_read_order(ifd_reader *r, Onnx__NodeProto ***nodes, size_t n_nodes);
/* Inputs, nodes and outputs of a function into its empty body, its attributes. */
ifd_status ifd_read_function(ifd_reader *r, ifd_function *function, const Onnx__FunctionProto *proto);
ifd_status ifd_read_attr(ifd_reader *r, ifd_attr *out, ifd_graph *graph, const Onnx__AttributeProto *proto);

#endif
