/* Element types, shapes, tensors and the other values. */
#include "tensor/tensor.h"
#include "tensor/convert.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SHAPE(...)                                                                                           \
  (ifd_shape) {                                                                                              \
    .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dim = { __VA_ARGS__ }                       \
  }

static void types_have_facts_and_names(void **state) {
  (void)state;
  for (ifd_dtype t = 1; t < IFD_N_DTYPES; t++) {
    assert_true(ifd_dtype_valid(t));
    assert_int_equal(ifd_dtype_find(ifd_dtype_name(t), strlen(ifd_dtype_name(t))), t);
    int bits = ifd_dtypes[t].bits;
    if (t != IFD_STRING) assert_int_equal(ifd_dtypes[t].size, (bits + 7) / 8);
  }
  assert_int_equal(sizeof(ifd_str), ifd_dtypes[IFD_STRING].size);
  assert_int_equal(ifd_dtype_find("float1", 6), IFD_UNDEFINED);
  assert_int_equal(ifd_dtype_find("float16", 5), IFD_FLOAT);
  assert_false(ifd_dtype_valid(0));
  assert_false(ifd_dtype_valid(IFD_N_DTYPES));
  assert_false(ifd_dtype_valid(-1));
  assert_true(ifd_dtype_is_float(IFD_FLOAT8E8M0) && !ifd_dtype_is_float(IFD_INT4));
  assert_true(ifd_dtype_is_integer(IFD_UINT2) && !ifd_dtype_is_integer(IFD_BOOL));
}

static void shapes_are_checked(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_shape scalar = {0}, big = SHAPE((int64_t)1 << 40, (int64_t)1 << 21);
  assert_int_equal(ifd_shape_check(&err, &scalar, 8), IFD_OK);
  assert_int_equal(ifd_shape_check(&err, &big, 2), IFD_OK);
  assert_int_equal(ifd_shape_check(&err, &big, 4), IFD_LIMIT);
  ifd_error_clear(&err);
  ifd_shape huge = SHAPE((int64_t)1 << 40, (int64_t)1 << 40, 0);
  assert_int_equal(ifd_shape_check(&err, &huge, 1), IFD_LIMIT);
  ifd_error_clear(&err);
  ifd_shape negative = SHAPE(2, -1);
  assert_int_equal(ifd_shape_check(&err, &negative, 1), IFD_BAD_INPUT);
  ifd_error_clear(&err);
  ifd_shape deep = {.rank = IFD_MAX_RANK + 1};
  assert_int_equal(ifd_shape_check(&err, &deep, 1), IFD_UNSUPPORTED);
}

static void shapes_are_written(void **state) {
  (void)state;
  char text[64], tiny[6];
  ifd_shape s = SHAPE(2, 30, 400), scalar = {0};
  assert_string_equal(ifd_shape_text(&s, text, sizeof text), "[2,30,400]");
  assert_string_equal(ifd_shape_text(&scalar, text, sizeof text), "[]");
  assert_string_equal(ifd_shape_text(&s, tiny, sizeof tiny), "[2,30");
  assert_int_equal(ifd_shape_count(&s), 24000);
  assert_int_equal(ifd_shape_count(&scalar), 1);
  assert_int_equal(ifd_shape_span(&s, 1, 3), 12000);
}

static void shapes_broadcast(void **state) {
  (void)state;
  const struct {
    ifd_shape a, b, out;
    ifd_status status;
  } rows[] = {
      {SHAPE(2, 3), SHAPE(2, 3), SHAPE(2, 3), IFD_OK},
      {SHAPE(2, 3, 4), SHAPE(3, 1), SHAPE(2, 3, 4), IFD_OK},
      {SHAPE(5), {.rank = 0}, SHAPE(5), IFD_OK},
      {SHAPE(4, 1), SHAPE(1, 6), SHAPE(4, 6), IFD_OK},
      {SHAPE(0, 3), SHAPE(1, 3), SHAPE(0, 3), IFD_OK},
      {SHAPE(2, 3), SHAPE(2), {0}, IFD_BAD_INPUT},
      {SHAPE(0), SHAPE(2), {0}, IFD_BAD_INPUT},
      {SHAPE((int64_t)1 << 40, 1), SHAPE(1, (int64_t)1 << 40), {0}, IFD_LIMIT},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int swapped = 0; swapped < 2; swapped++) {
      ifd_error err = {0};
      ifd_shape a = swapped ? rows[i].b : rows[i].a, b = swapped ? rows[i].a : rows[i].b, before = a;
      assert_int_equal(ifd_shape_broadcast(&err, &a, &a, &b), rows[i].status);
      assert_true(ifd_shape_equal(&a, rows[i].status ? &before : &rows[i].out));
    }
}

static void strides_are_row_major(void **state) {
  (void)state;
  ifd_shape s = SHAPE(3, 1, 4), out = SHAPE(2, 3, 5, 4);
  int64_t own[3], seen[4];
  ifd_shape_strides(&s, own);
  assert_memory_equal(own, ((int64_t[]){4, 4, 1}), sizeof own);
  ifd_shape_broadcast_strides(&s, &out, seen);
  assert_memory_equal(seen, ((int64_t[]){0, 4, 0, 1}), sizeof seen);
}

static void packed_bytes_round_up(void **state) {
  (void)state;
  assert_int_equal(ifd_packed_bytes(IFD_INT4, 5), 3);
  assert_int_equal(ifd_packed_bytes(IFD_UINT2, 5), 2);
  assert_int_equal(ifd_packed_bytes(IFD_FLOAT6E3M2, 5), 4);
  assert_int_equal(ifd_packed_bytes(IFD_FLOAT16, 5), 10);
  assert_int_equal(ifd_packed_bytes(IFD_COMPLEX128, 3), 48);
  assert_int_equal(ifd_packed_bytes(IFD_INT4, 0), 0);
  assert_int_equal(ifd_packed_bytes(IFD_STRING, 9), 0);
}

static void elements_are_read_and_written(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  for (ifd_dtype t = 1; t < IFD_N_DTYPES; t++) {
    if (t == IFD_STRING || t == IFD_FLOAT8E8M0 || ifd_dtypes[t].class == IFD_CLASS_COMPLEX) continue;
    ifd_tensor x;
    ifd_shape s = SHAPE(2, 3);
    assert_int_equal(ifd_tensor_new(&err, &x, &arena, t, &s), IFD_OK);
    assert_int_equal((uintptr_t)x.data % 64, 0);
    for (int i = 0; i < 6; i++) {
      assert_true(ifd_tensor_get_f64(&x, i) == 0);
      if (i % 2)
        ifd_tensor_set_f64(&x, i, 1);
      else
        ifd_tensor_set_i64(&x, i, i == 2);
    }
    for (int i = 0; i < 6; i++) {
      assert_true(ifd_tensor_get_f64(&x, i) == (i % 2 || i == 2));
      assert_int_equal(ifd_tensor_get_i64(&x, i), i % 2 || i == 2);
    }
  }
  ifd_arena_free(&arena);
}

static void setting_an_integer_clamps(void **state) {
  (void)state;
  int64_t cell = 0;
  const struct {
    ifd_dtype dtype;
    int64_t x, expected;
  } rows[] = {{IFD_INT8, 200, 127},
              {IFD_INT8, -200, -128},
              {IFD_UINT8, -1, 0},
              {IFD_UINT4, 99, 15},
              {IFD_INT2, -9, -2},
              {IFD_INT32, INT64_MAX, INT32_MAX},
              {IFD_UINT32, -5, 0},
              {IFD_UINT32, 1LL << 40, UINT32_MAX},
              {IFD_INT64, INT64_MIN, INT64_MIN},
              {IFD_UINT64, INT64_MAX, INT64_MAX},
              {IFD_BOOL, 256, 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ifd_tensor t = {.dtype = rows[i].dtype, .data = &cell};
    ifd_tensor_set_i64(&t, 0, rows[i].x);
    assert_int_equal(ifd_tensor_get_i64(&t, 0), rows[i].expected);
  }
  ifd_tensor t = {.dtype = IFD_INT8, .data = &cell};
  ifd_tensor_set_f64(&t, 0, 1e9);
  assert_int_equal(ifd_tensor_get_i64(&t, 0), 127);
}

/* Splat and packed constants read and expand like the dense tensor that they stand for. */
static void constants_expand(void **state) {
  (void)state;
  float one = 2.5f, many[7];
  ifd_tensor splat = {.dtype = IFD_FLOAT, .splat = true, .shape = SHAPE(7), .data = &one};
  assert_int_equal(ifd_tensor_bytes(&splat), sizeof one);
  ifd_tensor_expand(&splat, many);
  for (int i = 0; i < 7; i++) assert_true(many[i] == 2.5f && ifd_tensor_get_f64(&splat, i) == 2.5);

  const ifd_dtype narrow[] = {IFD_INT4, IFD_UINT2, IFD_FLOAT6E2M3};
  for (size_t k = 0; k < 3; k++) {
    int8_t dense[21], again[21];
    double values[21];
    for (int i = 0; i < 21; i++) values[i] = i % 4 ? 1 : narrow[k] == IFD_INT4 ? -3 : 2;
    ifd_store_f64(narrow[k], dense, values, 21);
    size_t bytes = ifd_packed_bytes(narrow[k], 21);
    void *file = malloc(bytes);
    ifd_pack(narrow[k], dense, file, 21);
    ifd_tensor packed = {.dtype = narrow[k], .packed = true, .shape = SHAPE(3, 7), .data = file};
    ifd_tensor_expand(&packed, again);
    assert_memory_equal(dense, again, sizeof dense);
    for (int i = 0; i < 21; i++) assert_true(ifd_tensor_get_f64(&packed, i) == values[i]);
    ifd_tensor both = {.dtype = narrow[k], .packed = true, .splat = true, .shape = SHAPE(21), .data = file};
    ifd_tensor_expand(&both, again);
    for (int i = 0; i < 21; i++) assert_int_equal(again[i], dense[0]);
    free(file);
  }
  ifd_tensor none = {.dtype = IFD_FLOAT, .shape = SHAPE(0, 3)};
  ifd_tensor_expand(&none, NULL);
}

/* Elements of a file that do not lie as memory wants them, from any of them on. */
static void constants_lie_anywhere(void **state) {
  (void)state;
  enum { N = 200 };
  const ifd_dtype dtypes[] = {IFD_FLOAT, IFD_DOUBLE, IFD_INT64, IFD_FLOAT16, IFD_INT4, IFD_FLOAT6E2M3};
  for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
    size_t size = ifd_dtype_size(dtypes[k]), bytes = ifd_packed_bytes(dtypes[k], N);
    double values[N], read[N];
    char *dense = malloc(N * size), *again = malloc(N * size), *file = malloc(bytes + 1);
    for (int i = 0; i < N; i++) values[i] = i % 3;
    ifd_store_f64(dtypes[k], dense, values, N);
    if (ifd_dtypes[dtypes[k]].bits < 8)
      ifd_pack(dtypes[k], dense, file + 1, N);
    else
      memcpy(file + 1, dense, N * size);
    ifd_tensor t = {.dtype = dtypes[k], .packed = true, .shape = SHAPE(N), .data = file + 1};
    assert_int_equal(ifd_tensor_stored_bytes(&t), bytes);
    ifd_tensor_expand(&t, again);
    assert_memory_equal(again, dense, N * size);
    for (int i = 0; i < N; i++) {
      assert_int_equal(ifd_tensor_get_i64(&t, i), i % 3);
      ifd_tensor_get_f64s(&t, i, read, N - i);
      assert_memory_equal(read, values + i, (size_t)(N - i) * sizeof *read);
    }
    free(dense), free(again), free(file);
  }
}

static ifd_datum tensor_datum(ifd_budget *budget, int64_t n) {
  ifd_error err = {0};
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  ifd_shape s = SHAPE(n);
  assert_int_equal(ifd_tensor_create(&err, &d.tensor, budget, IFD_INT64, &s), IFD_OK);
  for (int64_t i = 0; i < n; i++) ifd_tensor_set_i64(&d.tensor, i, i * n);
  return d;
}

static void references_share_and_free(void **state) {
  (void)state;
  ifd_budget budget = {0};
  ifd_datum sequence = {.kind = IFD_KIND_SEQUENCE, .elem_kind = IFD_KIND_TENSOR, .elem = IFD_INT64};
  sequence.list = ifd_list_create(&budget, 0);
  for (int i = 0; i < 9; i++) {
    ifd_datum item = tensor_datum(&budget, i + 1);
    assert_true(ifd_list_push(sequence.list, &item));
  }
  ifd_datum other, element;
  ifd_datum_ref(&other, &sequence);
  ifd_datum_ref(&element, &sequence.list->items[8]);
  ifd_datum_unref(&sequence);
  assert_int_equal(sequence.kind, IFD_KIND_UNKNOWN);
  assert_null(sequence.list);
  assert_int_equal(other.list->n, 9);
  ifd_datum_unref(&other);
  assert_int_equal(ifd_tensor_get_i64(&element.tensor, 8), 72);
  ifd_datum_unref(&element);
  ifd_datum_unref(&element);
  assert_int_equal(budget.used, 0);
  ifd_buf_unref(NULL);
  ifd_list_unref(NULL);
}

static void owning_copies_only_what_is_borrowed(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_budget budget = {0};
  float borrowed[3] = {1, 2, 3};
  ifd_datum d = {.kind = IFD_KIND_TENSOR,
                 .tensor = {.dtype = IFD_FLOAT, .shape = SHAPE(3), .data = borrowed}};
  ifd_datum own, again;
  assert_int_equal(ifd_datum_own(&err, &own, &d, &budget), IFD_OK);
  borrowed[1] = 99;
  assert_true(ifd_tensor_get_f64(&own.tensor, 1) == 2);
  assert_int_equal(ifd_datum_own(&err, &again, &own, &budget), IFD_OK);
  assert_ptr_equal(again.tensor.data, own.tensor.data);

  ifd_datum sequence = {.kind = IFD_KIND_SEQUENCE, .list = ifd_list_create(&budget, 2)};
  assert_true(ifd_list_push(sequence.list, &d) && ifd_list_push(sequence.list, &own));
  ifd_datum owned;
  assert_int_equal(ifd_datum_own(&err, &owned, &sequence, &budget), IFD_OK);
  borrowed[1] = 7;
  assert_true(ifd_tensor_get_f64(&owned.list->items[0].tensor, 1) == 99);
  assert_ptr_equal(owned.list->items[1].tensor.buf, again.tensor.buf);
  ifd_datum_unref(&sequence);
  ifd_datum_unref(&owned);
  ifd_datum_unref(&again);
  assert_int_equal(budget.used, 0);
}

/* A map keeps its string keys when all that it was made from is gone. */
static void owning_moves_strings(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_budget budget = {0};
  char text[] = "catdog";
  ifd_str keys[] = {{text, 3}, {NULL, 0}, {text + 3, 3}};
  ifd_datum map = {.kind = IFD_KIND_MAP, .tensor = {.dtype = IFD_STRING, .shape = SHAPE(3), .data = keys}};
  map.list = ifd_list_create(&budget, 1);
  ifd_datum values = tensor_datum(&budget, 3), own;
  assert_true(ifd_list_push(map.list, &values));
  assert_int_equal(ifd_datum_own(&err, &own, &map, &budget), IFD_OK);
  memset(text, 'x', sizeof text - 1);
  memset(keys, 0, sizeof keys);
  ifd_datum_unref(&map);
  const ifd_str *kept = own.tensor.data;
  assert_int_equal(kept[0].len + kept[1].len + kept[2].len, 6);
  assert_memory_equal(kept[0].s, "cat", 3);
  assert_memory_equal(kept[2].s, "dog", 3);
  assert_int_equal(ifd_tensor_get_i64(&own.list->items[0].tensor, 2), 6);
  ifd_datum_unref(&own);
  assert_int_equal(budget.used, 0);
}

/* Whichever request fails, the answer is a status and nothing stays behind. */
static void owning_survives_lack_of_memory(void **state) {
  (void)state;
  int64_t borrowed[4] = {0};
  ifd_datum d = {.kind = IFD_KIND_TENSOR,
                 .tensor = {.dtype = IFD_INT64, .shape = SHAPE(4), .data = borrowed}};
  ifd_list *list = ifd_list_create(NULL, 4);
  for (int i = 0; i < 4; i++) assert_true(ifd_list_push(list, &d));
  ifd_datum sequence = {.kind = IFD_KIND_SEQUENCE, .list = list}, own;
  ifd_status status = IFD_NO_MEMORY;
  int n = 1;
  for (; status == IFD_NO_MEMORY; n++) {
    ifd_error err = {0};
    ifd_budget budget = {.fail_after = n};
    status = ifd_datum_own(&err, &own, &sequence, &budget);
    assert_int_equal(err.code, status);
    if (status == IFD_OK) ifd_datum_unref(&own);
    assert_int_equal(budget.used, 0);
  }
  assert_int_equal(status, IFD_OK);
  assert_int_equal(n - 2, 6); /* the list, its items and four tensors */
  ifd_list_unref(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(types_have_facts_and_names),
      cmocka_unit_test(shapes_are_checked),
      cmocka_unit_test(shapes_are_written),
      cmocka_unit_test(shapes_broadcast),
      cmocka_unit_test(strides_are_row_major),
      cmocka_unit_test(packed_bytes_round_up),
      cmocka_unit_test(elements_are_read_and_written),
      cmocka_unit_test(setting_an_integer_clamps),
      cmocka_unit_test(constants_expand),
      cmocka_unit_test(constants_lie_anywhere),
      cmocka_unit_test(references_share_and_free),
      cmocka_unit_test(owning_copies_only_what_is_borrowed),
      cmocka_unit_test(owning_moves_strings),
      cmocka_unit_test(owning_survives_lack_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
