/* Small models made of protos, for the tests of src/io. */
#ifndef IFD_TESTS_PROTOS_H
#define IFD_TESTS_PROTOS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/onnx_read.h"
#include "io/onnx_write.h"
#include "onnx.pb-c.h"

enum { MOST = 8 };

/* A model with room for a few of everything; what is set is what n_… say. */
typedef struct protos {
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset;
  Onnx__OperatorSetIdProto *opsets[MOST];
  Onnx__NodeProto node[MOST];
  Onnx__NodeProto *nodes[MOST];
  char *in[MOST][MOST], *out[MOST][MOST];
  Onnx__AttributeProto attr[MOST];
  Onnx__AttributeProto *attrs[MOST];
  Onnx__ValueInfoProto info[MOST];
  Onnx__ValueInfoProto *inputs[MOST], *outputs[MOST];
  Onnx__TypeProto type;
  Onnx__TypeProto__Tensor tensor_type;
  Onnx__TensorProto tensor;
  Onnx__TensorProto *initializers[MOST];
  Onnx__SparseTensorProto *sparse[MOST];
  int n_infos;
} protos;

static inline Onnx__ValueInfoProto *new_info(protos *p, const char *name, bool typed) {
  Onnx__ValueInfoProto *info = &p->info[p->n_infos++];
  onnx__value_info_proto__init(info);
  info->name = (char *)name;
  if (typed) info->type = &p->type;
  return info;
}

static inline void add_input(protos *p, const char *name) {
  p->inputs[p->graph.n_input++] = new_info(p, name, true);
}

static inline void add_output(protos *p, const char *name) {
  p->outputs[p->graph.n_output++] = new_info(p, name, false);
}

/* in and out are names with a space between. */
static inline Onnx__NodeProto *add_node(protos *p, const char *op_type, const char *in, const char *out) {
  size_t i = p->graph.n_node++;
  Onnx__NodeProto *node = p->nodes[i] = &p->node[i];
  static char words[64][64];
  static int n_words;
  onnx__node_proto__init(node);
  node->op_type = (char *)op_type;
  node->input = p->in[i];
  node->output = p->out[i];
  for (int side = 0; side < 2; side++) {
    char text[128], *at = text;
    snprintf(text, sizeof text, "%s", side ? out : in);
    for (char *word; *text && (word = strsep(&at, " "));) {
      char *kept = words[n_words++ % 64];
      snprintf(kept, 64, "%s", word);
      if (side)
        node->output[node->n_output++] = kept;
      else
        node->input[node->n_input++] = kept;
    }
  }
  return node;
}

/* IR version 8, ai.onnx 17, an empty graph, and a float tensor "w" without dims or data that is in no
 * graph. */
static inline void begin_protos(protos *p) {
  memset(p, 0, sizeof *p);
  onnx__model_proto__init(&p->model);
  onnx__graph_proto__init(&p->graph);
  onnx__operator_set_id_proto__init(&p->opset);
  onnx__type_proto__init(&p->type);
  onnx__type_proto__tensor__init(&p->tensor_type);
  onnx__tensor_proto__init(&p->tensor);
  p->model.has_ir_version = p->opset.has_version = p->tensor_type.has_elem_type = p->tensor.has_data_type =
      true;
  p->model.ir_version = 8;
  p->model.graph = &p->graph;
  p->opsets[0] = &p->opset;
  p->model.opset_import = p->opsets;
  p->model.n_opset_import = 1;
  p->opset.version = 17;
  p->graph.name = "g";
  p->graph.node = p->nodes;
  p->graph.input = p->inputs;
  p->graph.output = p->outputs;
  p->graph.initializer = p->initializers;
  p->graph.sparse_initializer = p->sparse;
  p->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  p->type.tensor_type = &p->tensor_type;
  p->tensor_type.elem_type = p->tensor.data_type = IFD_FLOAT;
  p->initializers[0] = &p->tensor;
  p->tensor.name = "w";
  for (int i = 0; i < MOST; i++) {
    onnx__attribute_proto__init(&p->attr[i]);
    p->attrs[i] = &p->attr[i];
  }
}

static inline void *pack_message(const void *message, size_t *len) {
  *len = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = malloc(*len + 1);
  protobuf_c_message_pack(message, bytes);
  return bytes;
}

/* Reads the model; the caller frees *bytes after the model is gone. */
static inline ifd_status read_protos(ifd_error *err, ifd_model **out, void **bytes, const protos *p,
                                     ifd_budget *budget) {
  size_t len;
  *bytes = pack_message(&p->model, &len);
  return ifd_onnx_read_memory(err, out, *bytes, len, NULL, budget);
}

#endif
