#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/wire.h"
#include "onnx.pb-c.h"

#define TENSOR      (&onnx__tensor_proto__descriptor)
#define MODEL       (&onnx__model_proto__descriptor)
#define BYTES(text) text, sizeof(text) - 1

static ifd_arena arena;

static int start(void **state) {
  (void)state;
  ifd_arena_init(&arena, NULL);
  return 0;
}

static int end(void **state) {
  (void)state;
  ifd_arena_free(&arena);
  return 0;
}

static void *unpack(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len) {
  ifd_error err = {0};
  ProtobufCMessage *message;
  if (ifd_wire_unpack(&err, &message, type, bytes, len, &arena) != IFD_OK)
    fail_msg("%s%s", err.where, err.text);
  return message;
}

/* ---- what is refused ---- */

static const struct {
  const ProtobufCMessageDescriptor *type;
  const char *bytes;
  size_t len;
  const char *message;
} malformed[] = {
    {MODEL, BYTES("\x08"), "ModelProto.ir_version: the value is cut off"},
    {MODEL, BYTES("\x08\xff"), "cut off"},
    {MODEL, BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "overlong"},
    {MODEL, BYTES("\x3a\x05\x0a"), "graph: 5 bytes are announced, 1 are left"},
    {MODEL, BYTES("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "9223372036854775807 bytes"},
    {MODEL, BYTES("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "18446744073709551615 bytes"},
    {MODEL, BYTES("\x3a"), "cut off"},
    {MODEL, BYTES("\x3b\x3c"), "wire type 3"},
    {MODEL, BYTES("\x3f"), "wire type 7"},
    {MODEL, BYTES("\x00\x00"), "not a field"},
    {MODEL, BYTES("\xff\xff\xff\xff\x7f\x00"), "not a field"},
    {MODEL, BYTES("\x88\x80\x80\x80\x80\x00\x00"), "not a field"},
    {MODEL, BYTES("\x38\x01"), "wire type 0 where 2 is due"},
    {MODEL,
     BYTES("\x12\x03"
           "a\0b"),
     "producer_name: a NUL byte"},
    {MODEL, BYTES("\x3a\x00\x3a\x00"), "graph is given twice"},
    {MODEL, BYTES("\x3a\x04\x0a\x03\x0a\x01"), "byte 2: GraphProto.node: 3 bytes are announced, 2"},
    {MODEL, BYTES("\xa1\x1f\x00"), "(unknown): the value is cut off"},
    {MODEL, BYTES("\xa2\x1f\x05xx"), "(unknown): 5 bytes"},
    {TENSOR, BYTES("\x22\x03\x00\x00\x00"), "float_data: malformed packed"},
    {TENSOR, BYTES("\x52\x04\x00\x00\x00\x00"), "double_data: malformed packed"},
    {TENSOR, BYTES("\x0a\x02\x01\xff"), "dims: malformed packed"},
    {TENSOR, BYTES("\x48\x01"), "raw_data: wire type 0"},
    {TENSOR, BYTES("\x08\x01\x08\x02\x08\xff"), "byte 4: TensorProto.dims: the value is cut off"},
    {TENSOR, BYTES("\x25\x00\x00\x80\x3f\x25\x00\x00"), "byte 5: TensorProto.float_data: the value is cut"},
};

static void malformed_bytes_are_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
    ifd_error err = {0};
    ProtobufCMessage *message;
    char *exact = malloc(malformed[i].len); /* so that a sanitizer sees any byte read behind it */
    memcpy(exact, malformed[i].bytes, malformed[i].len);
    assert_int_not_equal(ifd_wire_unpack(&err, &message, malformed[i].type, exact, malformed[i].len, &arena),
                         IFD_OK);
    free(exact);
    char text[2048];
    snprintf(text, sizeof text, "%s%s", err.where, err.text);
    if (!strstr(text, malformed[i].message)) fail_msg("case %zu: %s", i, text);
  }
}

/* Every prefix and every changed byte of a message is refused or read, never more. */
static void damaged_bytes_do_no_harm(void **state) {
  (void)state;
  static const char good[] =
      "\x08\x08\x3a\x1f\x0a\x12\x0a\x01x\x12\x01y\x22\x04Relu\x2a\x04\x0a\x02zz\x12\x01g\x2a\x06"
      "\x08\x01\x4a\x02qq\x42\x02\x10\x11";
  for (size_t i = 0; i < sizeof good - 1; i++)
    for (int change = -1; change < 256; change++) {
      size_t len = change < 0 ? i : sizeof good - 1;
      char *bytes = malloc(len + !len);
      memcpy(bytes, good, len);
      if (change >= 0) bytes[i] = (char)change;
      ifd_error err = {0};
      ProtobufCMessage *message;
      ifd_arena own;
      ifd_arena_init(&own, NULL);
      if (ifd_wire_unpack(&err, &message, MODEL, bytes, len, &own) == IFD_OK)
        assert_true(protobuf_c_message_get_packed_size(message) < 4 * sizeof good);
      ifd_arena_free(&own);
      free(bytes);
    }
}

/* A type of `depth` sequences, from the inside out. */
static size_t nest(uint8_t *bytes, size_t size, int depth) {
  size_t at = size;
  for (int i = 0; i < 2 * depth; i++) {
    size_t len = size - at;
    assert_true(len < 1 << 14 && at > 4);
    bytes[--at] = (uint8_t)(len >> 7);
    bytes[--at] = (uint8_t)(len | 0x80);
    bytes[--at] = i % 2 ? 0x22 : 0x0a; /* sequence_type = 4, elem_type = 1 */
  }
  return at;
}

static void nesting_is_bounded(void **state) {
  (void)state;
  static uint8_t bytes[1 << 14];
  for (int depth = 1; depth < 1000; depth += 42) {
    size_t at = nest(bytes, sizeof bytes, depth);
    ifd_error err = {0};
    ProtobufCMessage *message;
    ifd_status status =
        ifd_wire_unpack(&err, &message, &onnx__type_proto__descriptor, bytes + at, sizeof bytes - at, &arena);
    assert_int_equal(status, 2 * depth <= IFD_WIRE_MAX_DEPTH ? IFD_OK : IFD_LIMIT);
  }
}

/* ---- what comes out ---- */

static void payloads_stay_where_they_are(void **state) {
  (void)state;
  /* raw_data that looks like the number of another payload, string_data of two, one of them empty */
  static const char bytes[] = "\x4a\x04\x02\x00\x00\x00\x32\x00\x32\x03\x00\x01\x02";
  const Onnx__TensorProto *t = unpack(TENSOR, bytes, sizeof bytes - 1);
  assert_ptr_equal(t->raw_data.data, bytes + 2);
  assert_int_equal(t->raw_data.len, 4);
  assert_int_equal(t->n_string_data, 2);
  assert_int_equal(t->string_data[0].len, 0);
  assert_ptr_equal(t->string_data[1].data, bytes + 10);
}

static void the_last_of_several_wins(void **state) {
  (void)state;
  static const char bytes[] = "\x4a\x01"
                              "a"
                              "\x4a\x02"
                              "bc"
                              "\x42\x01"
                              "n"
                              "\x42\x01"
                              "m";
  const Onnx__TensorProto *t = unpack(TENSOR, bytes, sizeof bytes - 1);
  assert_ptr_equal(t->raw_data.data, bytes + 5);
  assert_string_equal(t->name, "m");
}

static void unpacked_numbers_are_read(void **state) {
  (void)state;
  const Onnx__TensorProto *t = unpack(TENSOR, BYTES("\x08\x02\x0a\x02\x03\x04\x08\x05\x25\x00\x00\x80\x3f"));
  assert_int_equal(t->n_dims, 4);
  for (int i = 0; i < 4; i++) assert_int_equal(t->dims[i], i + 2);
  assert_true(t->n_float_data == 1 && t->float_data[0] == 1);
  t = unpack(TENSOR, BYTES("\x08\x80\x01\x08\x02\x25\x00\x00\x80\x3f\x25\x00\x00\x00\x40\x08\x03\x10\x01"));
  assert_true(t->n_dims == 3 && t->dims[0] == 128 && t->dims[1] == 2 && t->dims[2] == 3);
  assert_true(t->n_float_data == 2 && t->float_data[0] == 1 && t->float_data[1] == 2 && t->data_type == 1);
}

static void unknown_fields_are_kept(void **state) {
  (void)state;
  static const char bytes[] = "\x08\x08\x3a\x05\xa2\x1f\x02\x00\xff\xa8\x1f\x07\xa5\x1f\x01\x02\x03\x04";
  ProtobufCMessage *m = unpack(MODEL, bytes, sizeof bytes - 1);
  uint8_t again[sizeof bytes];
  assert_int_equal(protobuf_c_message_pack(m, again), sizeof bytes - 1);
  assert_memory_equal(again, bytes, sizeof bytes - 1);
}

/* Memory about the size of the graph: payloads are not copied, not even for a moment. */
static void payloads_take_no_memory(void **state) {
  (void)state;
  enum { SIZE = 16 << 20 };
  uint8_t *bytes = calloc(1, SIZE + 5);
  memcpy(bytes, "\x4a\x80\x80\x80\x08", 5);
  ifd_budget budget = {.limit = 1 << 16};
  ifd_arena small;
  ifd_arena_init(&small, &budget);
  ifd_error err = {0};
  ProtobufCMessage *message;
  assert_int_equal(ifd_wire_unpack(&err, &message, TENSOR, bytes, SIZE + 5, &small), IFD_OK);
  assert_int_equal(((Onnx__TensorProto *)message)->raw_data.len, SIZE);
  ifd_arena_free(&small);
  assert_int_equal(budget.used, 0);
  free(bytes);
}

static void out_of_memory_is_a_status(void **state) {
  (void)state;
  static const char bytes[] = "\x08\x08\x3a\x0c\x0a\x0a\x0a\x01x\x12\x01y\x22\x02Re\xa8\x1f\x07";
  ifd_status status = IFD_NO_MEMORY;
  for (int n = 1; status != IFD_OK; n++) {
    ifd_budget budget = {.fail_after = n};
    ifd_arena own;
    ifd_arena_init(&own, &budget);
    ifd_error err = {0};
    ProtobufCMessage *message;
    status = ifd_wire_unpack(&err, &message, MODEL, bytes, sizeof bytes - 1, &own);
    assert_true(status == IFD_OK || status == IFD_NO_MEMORY);
    ifd_arena_free(&own);
    assert_int_equal(budget.used, 0);
    assert_true(n < 100);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(malformed_bytes_are_refused, start, end),
      cmocka_unit_test_setup_teardown(damaged_bytes_do_no_harm, start, end),
      cmocka_unit_test_setup_teardown(nesting_is_bounded, start, end),
      cmocka_unit_test_setup_teardown(payloads_stay_where_they_are, start, end),
      cmocka_unit_test_setup_teardown(the_last_of_several_wins, start, end),
      cmocka_unit_test_setup_teardown(unpacked_numbers_are_read, start, end),
      cmocka_unit_test_setup_teardown(unknown_fields_are_kept, start, end),
      cmocka_unit_test_setup_teardown(payloads_take_no_memory, start, end),
      cmocka_unit_test_setup_teardown(out_of_memory_is_a_status, start, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
