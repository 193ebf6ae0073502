#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/os.h"
#include "unit/io/protos.h"

/* ---- what is refused ---- */

/* y = Relu(x) is there before each of these changes it. */
static void no_ir_version(protos *p) { p->model.has_ir_version = false; }
static void new_ir_version(protos *p) { p->model.ir_version = 15; }
static void no_graph(protos *p) { p->model.graph = NULL; }
static void no_opset(protos *p) { p->model.n_opset_import = 0; }
static void opset_zero(protos *p) { p->opset.version = 0; }
static void two_opsets(protos *p) {
  static Onnx__OperatorSetIdProto other;
  onnx__operator_set_id_proto__init(&other);
  other.domain = "ai.onnx";
  other.has_version = true;
  other.version = 16;
  p->opsets[p->model.n_opset_import++] = &other;
}
static void unknown_domain(protos *p) { p->node[0].domain = "com.example"; }
static void no_op_type(protos *p) { p->node[0].op_type = ""; }
static void input_twice(protos *p) { add_input(p, "x"); }
static void input_without_type(protos *p) { p->info[0].type = NULL; }
static void input_without_elem_type(protos *p) { p->tensor_type.elem_type = 0; }
static void input_of_odd_type(protos *p) { p->tensor_type.elem_type = 99; }
static void input_without_name(protos *p) { p->info[0].name = NULL; }
static void output_without_maker(protos *p) { add_output(p, "z"); }
static void made_twice(protos *p) { add_node(p, "Neg", "x", "y"); }
static void made_by_none(protos *p) { add_node(p, "Add", "x nowhere", "z"); }
static void made_later(protos *p) {
  add_node(p, "Add", "x b", "a")->name = "first";
  add_node(p, "Neg", "a", "b")->name = "second";
}
static void made_from_itself(protos *p) { add_node(p, "Add", "x z", "z"); }
static void redefines_input(protos *p) { add_node(p, "Neg", "y", "x"); }
static void initializer_twice(protos *p) {
  p->tensor.n_dims = 0;
  static float one = 1;
  p->tensor.float_data = &one;
  p->tensor.n_float_data = 1;
  p->initializers[1] = &p->tensor;
  p->graph.n_initializer = 2;
}
static void initializer_of_another_type(protos *p) {
  initializer_twice(p);
  p->graph.n_initializer = 1;
  p->tensor.name = "x";
  p->tensor.data_type = IFD_DOUBLE;
  static double one = 1;
  p->tensor.n_float_data = 0;
  p->tensor.double_data = &one;
  p->tensor.n_double_data = 1;
}
static void with_attr(protos *p, const char *name, int type) {
  Onnx__AttributeProto *a = p->attrs[p->node[0].n_attribute++];
  p->node[0].attribute = p->attrs;
  a->name = (char *)name;
  a->has_type = type != 0;
  a->type = (Onnx__AttributeProto__AttributeType)type;
}
static void attr_without_name(protos *p) { with_attr(p, NULL, IFD_ATTR_INT); }
static void attr_without_type(protos *p) { with_attr(p, "k", 0); }
static void attr_of_odd_type(protos *p) { with_attr(p, "k", 77); }
static void attr_without_value(protos *p) { with_attr(p, "k", IFD_ATTR_TENSOR); }
static void attr_twice(protos *p) {
  with_attr(p, "k", IFD_ATTR_INT);
  with_attr(p, "k", IFD_ATTR_INT);
}
static void attr_of_another_type(protos *p) {
  with_attr(p, "k", IFD_ATTR_INT);
  p->attr[0].has_f = true;
}
static void attr_of_two_values(protos *p) {
  with_attr(p, "k", IFD_ATTR_INT);
  p->attr[0].has_f = p->attr[0].has_i = true;
}
static void attr_reference(protos *p) {
  with_attr(p, "k", IFD_ATTR_INT);
  p->attr[0].ref_attr_name = "outer";
}
static void bad_tensor_in_attr(protos *p) {
  with_attr(p, "value", IFD_ATTR_TENSOR);
  p->attr[0].t = &p->tensor;
}

static const struct {
  const char *message;
  void (*change)(protos *p);
} refused[] = {
    {"ir_version is missing", no_ir_version},
    {"ir_version 15 is newer than 14", new_ir_version},
    {"the model has no graph", no_graph},
    {"node 'y' (Relu): domain 'ai.onnx' is not imported", no_opset},
    {"opset_import: version 0 of domain ''", opset_zero},
    {"opset_import: domain '' with versions 17 and 16", two_opsets},
    {"node 'y' (Relu): domain 'com.example' is not imported", unknown_domain},
    {"op_type is missing", no_op_type},
    {"input 'x': value x is defined twice", input_twice},
    {"input 'x': type is missing", input_without_type},
    {"input 'x': elem_type is missing", input_without_elem_type},
    {"input 'x': element type 99 does not exist", input_of_odd_type},
    {"input '': a value has no name", input_without_name},
    {"output 'z' is made by no node", output_without_maker},
    {"node 'y' (Neg): output 0: value y is defined twice", made_twice},
    {"node 'z' (Add): input 1: 'nowhere' is made by no node", made_by_none},
    {"node 'first' (Add): input 1: 'b' is made only later, by node 'second' (Neg)", made_later},
    {"node 'z' (Add): input 1: 'z' is made only later, by node 'z' (Add)", made_from_itself},
    {"node 'x' (Neg): output 0: value x is defined twice", redefines_input},
    {"initializer 'w': initializer w is given twice", initializer_twice},
    {"initializer 'x': data_type is double", initializer_of_another_type},
    {"node 'y' (Relu): an attribute has no name", attr_without_name},
    {"node 'y' (Relu): attribute 'k': no type is given", attr_without_type},
    {"attribute 'k': type 77 does not exist", attr_of_odd_type},
    {"attribute 'k': no value is given", attr_without_value},
    {"attribute 'k' is given twice", attr_twice},
    {"attribute 'k': the value is not of the type given", attr_of_another_type},
    {"attribute 'k': the value is not of the type given", attr_of_two_values},
    {"attribute 'k': ref_attr_name 'outer' outside of a function", attr_reference},
    {"attribute 'value': tensor 0: float_data holds 0 elements, float[] takes 1", bad_tensor_in_attr},
};

static void begin_relu(protos *p) {
  begin_protos(p);
  add_input(p, "x");
  add_node(p, "Relu", "x", "y");
  add_output(p, "y");
}

static void broken_models_are_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    protos p;
    ifd_error err = {0};
    ifd_model *m = NULL;
    void *bytes;
    ifd_budget budget = {0};
    begin_relu(&p);
    refused[i].change(&p);
    ifd_status status = read_protos(&err, &m, &bytes, &p, &budget);
    free(bytes);
    char text[2048];
    snprintf(text, sizeof text, "%s%s", err.where, err.text);
    if (status == IFD_OK || !strstr(text, refused[i].message))
      fail_msg("%s: %d %s", refused[i].message, status, text);
    assert_int_equal(budget.used, 0);
  }
}

static void a_model_is_read(void **state) {
  (void)state;
  protos p;
  ifd_error err = {0};
  ifd_model *m;
  void *bytes;
  begin_relu(&p);
  assert_int_equal(read_protos(&err, &m, &bytes, &p, NULL), IFD_OK);
  const ifd_graph *g = m->graph;
  assert_int_equal(m->ir_version, 8);
  assert_int_equal(ifd_model_opset(m, ""), 17);
  assert_int_equal(g->n_nodes, 1);
  assert_ptr_equal(g->first->inputs[0], g->inputs.v[0]);
  assert_ptr_equal(g->first->outputs[0], g->outputs.v[0]);
  assert_int_equal(g->inputs.v[0]->type->dtype, IFD_FLOAT);
  assert_int_equal(g->first->opset, 17);
  ifd_model_destroy(m);
  free(bytes);
}

/* As converters leave them that append what they insert. */
static void nodes_are_sorted(void **state) {
  (void)state;
  static const char *const sorted[] = {"Relu", "Abs", "Neg", "Add", "Exp"};
  protos p;
  ifd_error err = {0};
  ifd_model *m;
  void *bytes;
  begin_relu(&p);
  add_node(&p, "Add", "b a", "c");
  add_node(&p, "Neg", "a", "b");
  add_node(&p, "Exp", "c", "d");
  add_node(&p, "Abs", "y", "a");
  assert_int_equal(read_protos(&err, &m, &bytes, &p, NULL), IFD_OK);
  int i = 0;
  IFD_EACH_NODE(node, m->graph) assert_string_equal(node->op_type, sorted[i++]);
  assert_int_equal(i, 5);
  ifd_model_destroy(m);
  free(bytes);
}

/* Before IR version 3 the operator set, and before 2 the types of attributes, were not written. */
static void the_first_versions_are_read(void **state) {
  (void)state;
  protos p;
  ifd_error err = {0};
  ifd_model *m;
  void *bytes;
  begin_relu(&p);
  no_opset(&p);
  p.model.ir_version = 1;
  with_attr(&p, "k", 0);
  p.attr[0].has_i = true;
  p.attr[0].i = 5;
  assert_int_equal(read_protos(&err, &m, &bytes, &p, NULL), IFD_OK);
  assert_int_equal(ifd_model_opset(m, ""), 1);
  assert_int_equal(ifd_node_int(m->graph->first, "k", 0), 5);
  ifd_model_destroy(m);
  free(bytes);
}

/* ---- tensors ---- */

/* Reads the model; the values of its initializer as doubles. */
static ifd_status read_values(ifd_error *err, protos *p, const char *name, double *values, int *n,
                              ifd_budget *budget) {
  ifd_model *m;
  void *bytes;
  ifd_status status = read_protos(err, &m, &bytes, p, budget);
  if (status == IFD_OK) {
    const ifd_tensor *t = ifd_graph_find_value(m->graph, name)->constant;
    *n = (int)ifd_tensor_count(t);
    for (int i = 0; i < *n; i++) values[i] = ifd_tensor_get_f64(t, i);
    ifd_model_destroy(m);
  }
  free(bytes);
  return status;
}

static ifd_status read_tensor(ifd_error *err, Onnx__TensorProto *tensor, double *values, int *n) {
  protos p;
  begin_relu(&p);
  tensor->name = "w";
  p.initializers[0] = tensor;
  p.graph.n_initializer = 1;
  return read_values(err, &p, "w", values, n, NULL);
}

#define BYTES(text)                                                                                          \
  { sizeof(text) - 1, (uint8_t *)text }
#define RAW(text)           .has_raw_data = true, .raw_data = BYTES(text)
#define ARRAY(name, n, ...) .n_##name = n, .name = __VA_ARGS__

#define BASE         .base = PROTOBUF_C_MESSAGE_INIT(&onnx__tensor_proto__descriptor), .has_data_type = true
#define DIMS(n, ...) ARRAY(dims, n, (int64_t[]){__VA_ARGS__})

static void tensors_are_read_from_every_place(void **state) {
  (void)state;
  struct {
    Onnx__TensorProto tensor;
    int n;
    double values[4];
  } cases[] = {
      {{BASE, .data_type = IFD_FLOAT, DIMS(2, 1, 2), RAW("\0\0\x80\x3f\0\0\0\xc0")}, 2, {1, -2}},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 2), ARRAY(float_data, 2, (float[]){1, -2})}, 2, {1, -2}},
      {{BASE, .data_type = IFD_FLOAT, ARRAY(float_data, 1, (float[]){7})}, 1, {7}},
      {{BASE, .data_type = IFD_FLOAT, DIMS(2, 0, 3)}, 0, {0}},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 0), RAW("")}, 0, {0}},
      {{BASE, .data_type = IFD_DOUBLE, DIMS(1, 2), ARRAY(double_data, 2, (double[]){1.5, -2})}, 2, {1.5, -2}},
      {{BASE, .data_type = IFD_INT64, DIMS(1, 2), ARRAY(int64_data, 2, (int64_t[]){-1, 9})}, 2, {-1, 9}},
      {{BASE, .data_type = IFD_UINT64, DIMS(1, 1), ARRAY(uint64_data, 1, (uint64_t[]){9})}, 1, {9}},
      {{BASE, .data_type = IFD_UINT32, DIMS(1, 2), ARRAY(uint64_data, 2, (uint64_t[]){4294967295u, 2})},
       2,
       {4294967295.0, 2}},
      {{BASE, .data_type = IFD_INT32, DIMS(1, 2), ARRAY(int32_data, 2, (int32_t[]){-5, 5})}, 2, {-5, 5}},
      {{BASE, .data_type = IFD_INT8, DIMS(1, 2), ARRAY(int32_data, 2, (int32_t[]){-5, 5})}, 2, {-5, 5}},
      {{BASE, .data_type = IFD_UINT16, DIMS(1, 2), ARRAY(int32_data, 2, (int32_t[]){65535, 5})},
       2,
       {65535, 5}},
      {{BASE, .data_type = IFD_BOOL, DIMS(1, 3), ARRAY(int32_data, 3, (int32_t[]){0, 1, 2})}, 3, {0, 1, 1}},
      {{BASE, .data_type = IFD_BOOL, DIMS(1, 3), RAW("\0\1\xff")}, 3, {0, 1, 1}},
      {{BASE, .data_type = IFD_FLOAT16, DIMS(1, 2), ARRAY(int32_data, 2, (int32_t[]){0x3c00, 0xc000})},
       2,
       {1, -2}},
      {{BASE, .data_type = IFD_BFLOAT16, DIMS(1, 1), RAW("\x80\x3f")}, 1, {1}},
      {{BASE, .data_type = IFD_FLOAT8E4M3FN, DIMS(1, 1), ARRAY(int32_data, 1, (int32_t[]){0x38})}, 1, {1}},
      {{BASE, .data_type = IFD_INT4, DIMS(1, 3), RAW("\xf1\x07")}, 3, {1, -1, 7}},
      {{BASE, .data_type = IFD_INT4, DIMS(1, 3), ARRAY(int32_data, 2, (int32_t[]){0xf1, 7})}, 3, {1, -1, 7}},
      {{BASE, .data_type = IFD_INT4, DIMS(1, 1), ARRAY(int32_data, 1, (int32_t[]){0x0f})}, 1, {-1}},
      {{BASE, .data_type = IFD_UINT2, DIMS(1, 4), RAW("\xe4")}, 4, {0, 1, 2, 3}},
      {{BASE, .data_type = IFD_FLOAT6E2M3, DIMS(1, 4), RAW("\x08\x02\x00")}, 4, {1, 1, 0, 0}},
      {{BASE, .data_type = IFD_FLOAT6E2M3, DIMS(1, 2), ARRAY(int32_data, 2, (int32_t[]){8, 0x28})},
       2,
       {1, -1}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ifd_error err = {0};
    double values[8];
    int n;
    if (read_tensor(&err, &cases[i].tensor, values, &n) != IFD_OK)
      fail_msg("case %zu: %s%s", i, err.where, err.text);
    assert_int_equal(n, cases[i].n);
    for (int k = 0; k < n; k++)
      if (values[k] != cases[i].values[k]) fail_msg("case %zu: element %d is %g", i, k, values[k]);
  }
}

static void broken_tensors_are_refused(void **state) {
  (void)state;
  Onnx__TensorProto__Segment segment = ONNX__TENSOR_PROTO__SEGMENT__INIT;
  struct {
    Onnx__TensorProto tensor;
    const char *message;
  } cases[] = {
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 2), RAW("1234567")},
       "raw_data holds 7 bytes, float[2] takes 8"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 2), RAW("123456789")}, "raw_data holds 9 bytes"},
      {{BASE, .data_type = IFD_INT4, DIMS(1, 3), RAW("1")}, "raw_data holds 1 bytes, int4[3] takes 2"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 2), ARRAY(float_data, 1, (float[]){1})},
       "float_data holds 1 elements, float[2] takes 2"},
      {{BASE, .data_type = IFD_COMPLEX64, DIMS(1, 1), ARRAY(float_data, 1, (float[]){1})}, "takes 2"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1)}, "float_data holds 0 elements"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), RAW("1234"), ARRAY(float_data, 1, (float[]){1})},
       "both raw_data and float_data"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), ARRAY(int64_data, 1, (int64_t[]){1})},
       "elements of type float are in int64_data, not in float_data or raw_data"},
      {{BASE, .data_type = IFD_STRING, DIMS(1, 1), RAW("a")}, "strings can only be in string_data"},
      {{BASE, .data_type = 0, DIMS(1, 1), RAW("1234")}, "data_type: element type 0 does not exist"},
      {{BASE, .data_type = -1, DIMS(1, 1), RAW("1234")}, "data_type: element type -1 does not exist"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, -1), RAW("1234")}, "dims: dimension 0 is negative"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(3, 1ll << 33, 1ll << 31, 4), RAW("1234")}, "dims: "},
      {{BASE, .data_type = IFD_FLOAT, DIMS(13, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), RAW("1234")},
       "rank 13"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), RAW("1234"), .segment = &segment}, "segment"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), RAW("1234"), .has_data_location = true, .data_location = 7},
       "data_location 7 does not exist"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), .has_data_location = true, .data_location = 1},
       "external_data: location is missing"},
      {{BASE, .data_type = IFD_FLOAT, DIMS(1, 1), RAW("1234"), .has_data_location = true, .data_location = 1},
       "raw_data, and external_data"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ifd_error err = {0};
    double values[8];
    int n;
    char text[2048];
    ifd_status status = read_tensor(&err, &cases[i].tensor, values, &n);
    snprintf(text, sizeof text, "%s%s", err.where, err.text);
    if (status == IFD_OK || !strstr(text, cases[i].message) || strncmp(text, "initializer 'w': ", 17) != 0)
      fail_msg("case %zu: %s", i, text);
  }
}

/* Of four places in the file that are a byte apart, how many leave n floats 0, 1, 2 … where they lie. */
static int count_borrowed(int64_t n) {
  int n_borrowed = 0;
  float *values = malloc((size_t)n * sizeof *values), *again = malloc((size_t)n * sizeof *again);
  for (int64_t i = 0; i < n; i++) values[i] = (float)i;
  for (int shift = 0; shift < 4; shift++) {
    protos p;
    ifd_error err = {0};
    ifd_model *m;
    char producer[8] = "aaaaaaa";
    begin_relu(&p);
    producer[shift] = 0;
    p.model.producer_name = producer; /* shifts what comes behind */
    p.tensor.dims = &n;
    p.tensor.n_dims = 1;
    p.tensor.has_raw_data = true;
    p.tensor.raw_data = (ProtobufCBinaryData){(size_t)n * sizeof *values, (uint8_t *)values};
    p.graph.n_initializer = 1;
    size_t len;
    char *bytes = pack_message(&p.model, &len);
    assert_int_equal(ifd_onnx_read_memory(&err, &m, bytes, len, NULL, NULL), IFD_OK);
    const ifd_tensor *t = ifd_graph_find_value(m->graph, "w")->constant;
    n_borrowed += (char *)t->data >= bytes && (char *)t->data < bytes + len;
    assert_int_equal(t->packed, (uintptr_t)t->data % 4 != 0);
    ifd_tensor_expand(t, again);
    assert_memory_equal(again, values, (size_t)n * sizeof *values);
    ifd_model_destroy(m);
    free(bytes);
  }
  free(values);
  free(again);
  return n_borrowed;
}

/* Elements are used where they lie, if they are aligned there or many. */
static void elements_are_borrowed(void **state) {
  (void)state;
  assert_int_equal(count_borrowed(2), 1);
  assert_int_equal(count_borrowed(100000), 4);
}

/* ---- sparse tensors ---- */

static ifd_status read_sparse(ifd_error *err, Onnx__SparseTensorProto *sparse, double *values, int *n,
                              ifd_budget *budget) {
  protos p;
  begin_relu(&p);
  p.sparse[0] = sparse;
  p.graph.n_sparse_initializer = 1;
  return read_values(err, &p, "s", values, n, budget);
}

static void sparse_tensors_are_made_dense(void **state) {
  (void)state;
  struct {
    int64_t dims[2], index_dims[2], indices[4];
    int n_index_dims;
    const char *message; /* NULL: read */
  } cases[] = {
      {{2, 3}, {2}, {1, 5}, 1, NULL},
      {{2, 3}, {2, 2}, {0, 1, 1, 2}, 2, NULL},
      {{2, 3}, {2}, {1, 6}, 1, "indices: 6 (number 1) is outside"},
      {{2, 3}, {2}, {-1, 5}, 1, "indices: -1 (number 0) is outside"},
      {{2, 3}, {2}, {5, 1}, 1, "number 1 is not above the one before"},
      {{2, 3}, {2}, {1, 1}, 1, "number 1 is not above the one before"},
      {{2, 3}, {2, 2}, {0, 1, 1, 3}, 2, "indices: 3 (number 1, axis 1) is outside"},
      {{2, 3}, {1}, {1}, 1, "indices must be of shape [2] or [2,2]"},
      {{2, 3}, {4, 1}, {0, 1, 2, 3}, 2, "indices must be of shape"},
      {{1ll << 20, 1ll << 20}, {2}, {1, 5}, 1, "made dense"},
      {{1ll << 40, 1ll << 40}, {2}, {1, 5}, 1, "dims: "},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Onnx__TensorProto values = {BASE, .data_type = IFD_FLOAT, DIMS(1, 2), .name = "s",
                                ARRAY(float_data, 2, (float[]){3, 4})};
    Onnx__TensorProto indices = {BASE, .data_type = IFD_INT64, .dims = cases[i].index_dims,
                                 .n_dims = (size_t)cases[i].n_index_dims, .int64_data = cases[i].indices};
    indices.n_int64_data =
        (size_t)(cases[i].index_dims[0] * (cases[i].n_index_dims == 2 ? cases[i].index_dims[1] : 1));
    Onnx__SparseTensorProto sparse = ONNX__SPARSE_TENSOR_PROTO__INIT;
    sparse.values = &values;
    sparse.indices = &indices;
    sparse.dims = cases[i].dims;
    sparse.n_dims = 2;
    ifd_budget budget = {.limit = 1 << 20};
    ifd_error err = {0};
    double out[8];
    int n = 0;
    char text[2048];
    ifd_status status = read_sparse(&err, &sparse, out, &n, &budget);
    snprintf(text, sizeof text, "%s%s", err.where, err.text);
    if (cases[i].message) {
      if (status == IFD_OK || !strstr(text, cases[i].message)) fail_msg("case %zu: %s", i, text);
      continue;
    }
    if (status != IFD_OK) fail_msg("case %zu: %s", i, text);
    assert_true(n == 6 && out[0] == 0 && out[1] == 3 && out[2] == 0 && out[5] == 4);
  }
}

/* ---- external data ---- */

static void two_tensors_share_a_file(void **state) {
  (void)state;
  protos p;
  ifd_error err = {0};
  ifd_model *m;
  Onnx__StringStringEntryProto entry[2] = {ONNX__STRING_STRING_ENTRY_PROTO__INIT,
                                           ONNX__STRING_STRING_ENTRY_PROTO__INIT};
  Onnx__StringStringEntryProto *entries[] = {&entry[0], &entry[1]};
  entry[0].key = "location";
  entry[0].value = "blob";
  entry[1].key = "offset";
  entry[1].value = "8";
  Onnx__TensorProto t[2] = {{BASE, .data_type = IFD_FLOAT, DIMS(1, 2)},
                            {BASE, .data_type = IFD_FLOAT, DIMS(1, 2)}};
  begin_relu(&p);
  for (int i = 0; i < 2; i++) {
    t[i].name = i ? "b" : "a";
    t[i].has_data_location = true;
    t[i].data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t[i].external_data = entries;
    t[i].n_external_data = 2;
    p.initializers[i] = &t[i];
  }
  p.graph.n_initializer = 2;
  size_t len;
  void *bytes = pack_message(&p.model, &len);
  assert_int_equal(ifd_onnx_read_memory(&err, &m, bytes, len, NULL, NULL), IFD_BAD_INPUT);
  ifd_error_clear(&err);
  char folder[] = "/tmp/infold-read-XXXXXX", blob[64];
  assert_non_null(mkdtemp(folder));
  snprintf(blob, sizeof blob, "%s/blob", folder);
  assert_int_equal(ifd_file_replace(&err, blob, (const float[]){1, 2, 3, 4}, 16), IFD_OK);
  ifd_read_options options = {.directory = folder};
  assert_int_equal(ifd_onnx_read_memory(&err, &m, bytes, len, &options, NULL), IFD_OK);
  const ifd_tensor *a = ifd_graph_find_value(m->graph, "a")->constant,
                   *b = ifd_graph_find_value(m->graph, "b")->constant;
  assert_ptr_equal(a->data, b->data);
  assert_true(((const float *)a->data)[1] == 4);
  ifd_model_destroy(m);
  free(bytes);
  unlink(blob);
  rmdir(folder);
}

/* ---- memory ---- */

/* The n-th request for memory fails, for all n until none does. */
static void out_of_memory_is_a_status(void **state) {
  (void)state;
  static const char *const paths[] = {"models/digits.onnx", "models/control_flow/model.onnx",
                                      "models/sparse_weights/model.onnx", "models/external_data/model.onnx",
                                      "models/local_functions/model.onnx"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", IFD_SOURCE_DIR, paths[i]);
    ifd_status status = IFD_NO_MEMORY;
    for (int n = 1; status != IFD_OK; n++) {
      ifd_budget budget = {.fail_after = n};
      ifd_error err = {0};
      ifd_model *m = NULL;
      status = ifd_onnx_read_file(&err, &m, path, NULL, &budget);
      if (status == IFD_OK)
        ifd_model_destroy(m);
      else if (status != IFD_NO_MEMORY)
        fail_msg("%s: request %d: %s%s", path, n, err.where, err.text);
      assert_int_equal(budget.used, 0);
      assert_true(n < 100000);
    }
  }
}

/* The same with ever more memory, so that requests of every kind are the first that fails. */
static void small_budgets_are_a_status(void **state) {
  (void)state;
  char path[512];
  snprintf(path, sizeof path, "%s/models/control_flow/model.onnx", IFD_SOURCE_DIR);
  ifd_status status = IFD_NO_MEMORY;
  for (size_t limit = 64; status != IFD_OK; limit += 512) {
    ifd_budget budget = {.limit = limit};
    ifd_error err = {0};
    ifd_model *m = NULL;
    status = ifd_onnx_read_file(&err, &m, path, NULL, &budget);
    assert_true(status == IFD_OK || status == IFD_NO_MEMORY);
    if (m) ifd_model_destroy(m);
    assert_int_equal(budget.used, 0);
    assert_true(limit < 1 << 22);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(broken_models_are_refused),
      cmocka_unit_test(a_model_is_read),
      cmocka_unit_test(nodes_are_sorted),
      cmocka_unit_test(the_first_versions_are_read),
      cmocka_unit_test(tensors_are_read_from_every_place),
      cmocka_unit_test(broken_tensors_are_refused),
      cmocka_unit_test(elements_are_borrowed),
      cmocka_unit_test(sparse_tensors_are_made_dense),
      cmocka_unit_test(two_tensors_share_a_file),
      cmocka_unit_test(out_of_memory_is_a_status),
      cmocka_unit_test(small_budgets_are_a_status),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
