#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/dim.h"

typedef struct fixture {
  ifd_arena arena;
  ifd_dims *dims;
  ifd_dim n, m, k;
} fixture;

static void begin(fixture *f) {
  ifd_arena_init(&f->arena, NULL);
  f->dims = ifd_dims_new(&f->arena);
  f->n = ifd_dim_symbol(f->dims, "N");
  f->m = ifd_dim_symbol(f->dims, "M");
  f->k = ifd_dim_symbol(f->dims, "K");
}

static void end(fixture *f) { ifd_arena_free(&f->arena); }

#define TEXT(f, d, expected)                                                                                 \
  do {                                                                                                       \
    char text_[256];                                                                                         \
    assert_string_equal(ifd_dim_text((f)->dims, d, text_, sizeof text_), expected);                          \
  } while (0)

static void equal_values_have_equal_handles(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dims *d = f.dims;
  assert_int_equal(ifd_dim_symbol(d, "N"), f.n);
  assert_int_equal(ifd_dim_add(d, f.n, f.m), ifd_dim_add(d, f.m, f.n));
  assert_int_equal(ifd_dim_sub(d, ifd_dim_add(d, f.n, 5), f.n), 5);
  assert_int_equal(ifd_dim_mul(d, ifd_dim_add(d, f.n, 1), ifd_dim_sub(d, f.n, 1)),
                   ifd_dim_sub(d, ifd_dim_mul(d, f.n, f.n), 1));
  ifd_dim nm4 = ifd_dim_mul(d, ifd_dim_mul(d, f.n, f.m), 4);
  assert_int_equal(ifd_dim_floor_div(d, nm4, f.m), ifd_dim_mul(d, f.n, 4));
  assert_int_equal(ifd_dim_floor_div(d, ifd_dim_mul(d, f.n, 6), 4),
                   ifd_dim_add(d, f.n, ifd_dim_floor_div(d, f.n, 2)));
  assert_int_equal(ifd_dim_max(d, f.n, ifd_dim_max(d, f.m, f.n)), ifd_dim_max(d, f.m, f.n));
  assert_int_equal(ifd_dim_max(d, f.n, 0), f.n);
  assert_int_equal(ifd_dim_max(d, ifd_dim_add(d, f.n, 1), f.n), ifd_dim_add(d, f.n, 1));
  assert_int_equal(ifd_dim_min(d, f.n, 0), 0);
  assert_int_not_equal(ifd_dim_max(d, f.n, 1), f.n); /* N may be 0 */
  assert_int_equal(ifd_dim_sub(d, f.n, f.n), 0);
  end(&f);
}

/* Two strided convolutions in a row have the size of one of both strides. */
static void quotients_nest(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dims *d = f.dims;
  ifd_dim once = ifd_dim_add(d, ifd_dim_floor_div(d, ifd_dim_sub(d, f.n, 1), 2), 1);
  ifd_dim twice = ifd_dim_add(d, ifd_dim_floor_div(d, ifd_dim_sub(d, once, 1), 2), 1);
  TEXT(&f, once, "floor((N + 1)/2)");
  TEXT(&f, twice, "floor((N + 3)/4)");
  assert_int_equal(twice, ifd_dim_ceil_div(d, f.n, 4));
  /* padding to a multiple by the remainder is rounding up */
  ifd_dim pad = ifd_dim_mod(d, ifd_dim_sub(d, 8, ifd_dim_mod(d, f.n, 8)), 8);
  assert_int_equal(ifd_dim_add(d, f.n, pad), ifd_dim_mul(d, ifd_dim_ceil_div(d, f.n, 8), 8));
  end(&f);
}

static void exact_division_of_polynomials(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dims *d = f.dims;
  ifd_dim a = ifd_dim_add(d, ifd_dim_mul(d, f.n, 2), f.m), b = ifd_dim_add(d, f.k, f.n), q;
  assert_true(ifd_dim_divides(d, ifd_dim_mul(d, a, b), b, &q));
  assert_int_equal(q, a);
  assert_false(ifd_dim_divides(d, ifd_dim_add(d, ifd_dim_mul(d, a, b), 1), b, &q));
  assert_false(ifd_dim_divides(d, f.n, 2, &q));
  assert_false(ifd_dim_divides(d, f.n, 0, &q));
  assert_true(ifd_dim_divides(d, 0, f.n, &q) && q == 0);
  end(&f);
}

static void unknowns_equal_only_themselves(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dim a = ifd_dim_unknown(f.dims), b = ifd_dim_unknown(f.dims);
  assert_int_not_equal(a, b);
  assert_int_equal(ifd_dim_sub(f.dims, ifd_dim_add(f.dims, a, 3), a), 3);
  TEXT(&f, a, "?");
  assert_false(ifd_dim_is_number(a));
  assert_false(ifd_dim_is_number(ifd_dim_number(f.dims, INT64_MIN)));
  assert_int_equal(ifd_dim_number(f.dims, -7), -7);
  ifd_binding binding = {0};
  int64_t v;
  assert_false(ifd_dim_eval(f.dims, a, &binding, &v));
  assert_false(ifd_dim_eval(f.dims, f.n, &binding, &v));
  /* a divisor that may be 0 gives an unknown each time */
  ifd_dim zero = ifd_dim_sub(f.dims, f.n, 1);
  assert_int_not_equal(ifd_dim_floor_div(f.dims, f.m, zero), ifd_dim_floor_div(f.dims, f.m, zero));
  end(&f);
}

static void positive_only_when_proven(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dims *d = f.dims;
  assert_true(ifd_dim_known_positive(d, f.n));
  assert_true(ifd_dim_known_positive(d, ifd_dim_mul(d, f.n, f.m)));
  assert_true(ifd_dim_known_positive(d, ifd_dim_ceil_div(d, f.n, 8)));
  assert_true(ifd_dim_known_positive(d, ifd_dim_max(d, ifd_dim_sub(d, f.n, f.m), 1)));
  assert_false(ifd_dim_known_positive(d, ifd_dim_sub(d, f.n, 1)));
  assert_false(ifd_dim_known_positive(d, ifd_dim_floor_div(d, f.n, 2)));
  assert_false(ifd_dim_known_positive(d, 0));
  assert_false(ifd_dim_known_positive(d, ifd_dim_unknown(d)));
  end(&f);
}

static void text_and_names(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_dims *d = f.dims;
  TEXT(&f, ifd_dim_add(d, ifd_dim_mul(d, f.n, 196), 1), "N*196 + 1");
  TEXT(&f, ifd_dim_sub(d, ifd_dim_mul(d, f.n, f.m), ifd_dim_mul(d, f.k, 2)), "N*M - K*2");
  TEXT(&f, ifd_dim_sub(d, 0, f.n), "-N");
  TEXT(&f, ifd_dim_max(d, f.n, ifd_dim_sub(d, f.m, 1)), "max(N, M - 1)");
  TEXT(&f, ifd_dim_floor_div(d, f.n, f.m), "floor(N/M)");
  TEXT(&f, -3, "-3");
  char few[4];
  assert_string_equal(ifd_dim_text(d, ifd_dim_add(d, f.n, 100), few, sizeof few), "N +");
  assert_string_equal(ifd_dim_name(d, f.n), "N");
  assert_null(ifd_dim_name(d, ifd_dim_add(d, f.n, 1)));
  end(&f);
}

/* ---- random expressions against plain arithmetic ---- */

enum { N_SYMBOLS = 4, N_BINDINGS = 8 };
static const char *const names[N_SYMBOLS] = {"a", "b", "c", "d"};

typedef struct sample { /* a dim and its value under each binding, as long as it has one */
  ifd_dim dim;
  bool ok[N_BINDINGS];
  int64_t v[N_BINDINGS];
} sample;

static uint64_t seed = 1;
static int64_t draw(int64_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((seed >> 33) % (uint64_t)n);
}

static int64_t floored(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool apply(int op, int64_t a, int64_t b, int64_t *out) {
  switch (op) {
  case 0: return !__builtin_add_overflow(a, b, out);
  case 1: return !__builtin_sub_overflow(a, b, out);
  case 2: return !__builtin_mul_overflow(a, b, out);
  case 3: return b ? *out = floored(a, b), true : false;
  case 4: return b ? *out = floored(a, b) + (a % b != 0), true : false;
  case 5: return b ? *out = a - b * floored(a, b), true : false;
  case 6: return *out = a < b ? a : b, true;
  default: return *out = a > b ? a : b, true;
  }
}

static sample combine(ifd_dims *d, int op, const sample *x, const sample *y) {
  static ifd_dim (*const make[])(ifd_dims *, ifd_dim,
                                 ifd_dim) = {ifd_dim_add,      ifd_dim_sub, ifd_dim_mul, ifd_dim_floor_div,
                                             ifd_dim_ceil_div, ifd_dim_mod, ifd_dim_min, ifd_dim_max};
  sample r = {.dim = make[op](d, x->dim, y->dim)};
  for (int i = 0; i < N_BINDINGS; i++) r.ok[i] = x->ok[i] && y->ok[i] && apply(op, x->v[i], y->v[i], &r.v[i]);
  return r;
}

static void random_expressions_mean_their_arithmetic(void **state) {
  (void)state;
  long known = 0;
  for (int round = 0; round < 3000; round++) {
    fixture f;
    begin(&f);
    ifd_binding binding[N_BINDINGS];
    int64_t values[N_BINDINGS][N_SYMBOLS];
    sample pool[40];
    int n = 0;
    for (int s = 0; s < N_SYMBOLS; s++) pool[n++] = (sample){.dim = ifd_dim_symbol(f.dims, names[s])};
    for (int i = 0; i < N_BINDINGS; i++) {
      ifd_map_init(&binding[i].map, &f.arena);
      for (int s = 0; s < N_SYMBOLS; s++) {
        pool[s].ok[i] = true;
        pool[s].v[i] = values[i][s] = 1 + draw(i % 2 ? 100 : 5);
        assert_true(ifd_map_set(&binding[i].map, names[s], &values[i][s]));
      }
    }
    for (; n < 9; n++) {
      int64_t v = draw(25) - 8;
      pool[n] = (sample){.dim = v};
      for (int i = 0; i < N_BINDINGS; i++) pool[n].ok[i] = true, pool[n].v[i] = v;
    }
    for (; n < 40; n++) {
      sample s = pool[n] = combine(f.dims, (int)draw(8), &pool[draw(n)], &pool[draw(n)]);
      bool positive = ifd_dim_known_positive(f.dims, s.dim);
      for (int i = 0; i < N_BINDINGS; i++) {
        int64_t got;
        if (!s.ok[i] || !ifd_dim_eval(f.dims, s.dim, &binding[i], &got)) continue;
        known++;
        if (got != s.v[i]) {
          char text[1000];
          fail_msg("%s is %ld, not %ld", ifd_dim_text(f.dims, s.dim, text, sizeof text), (long)got,
                   (long)s.v[i]);
        }
        assert_true(!positive || got > 0);
      }
    }
    end(&f);
  }
  assert_true(known > 300000);
}

/* Whatever fails to be allocated, what is made is right or unknown. */
static void out_of_memory_gives_unknowns(void **state) {
  (void)state;
  bool all_known = false;
  for (long fail = 1; !all_known; fail++) {
    ifd_budget budget = {.fail_after = fail};
    ifd_arena arena;
    ifd_arena_init(&arena, &budget);
    ifd_dims *d = ifd_dims_new(&arena);
    all_known = d;
    int64_t n = 10, v;
    for (int i = 0; d && i < 400; i++) {
      ifd_map_entry entry[2] = {{"n", &n, ifd_hash_bytes("n", 1)}};
      ifd_binding binding = {{NULL, entry, 1, 1}};
      ifd_dim sum = ifd_dim_add(d, ifd_dim_mul(d, ifd_dim_symbol(d, "n"), i), 1);
      bool known = ifd_dim_eval(d, sum, &binding, &v);
      assert_true(!known || v == 10 * i + 1);
      all_known = all_known && known;
    }
    ifd_arena_free(&arena);
    assert_int_equal(budget.used, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_values_have_equal_handles),
      cmocka_unit_test(quotients_nest),
      cmocka_unit_test(exact_division_of_polynomials),
      cmocka_unit_test(unknowns_equal_only_themselves),
      cmocka_unit_test(positive_only_when_proven),
      cmocka_unit_test(text_and_names),
      cmocka_unit_test(random_expressions_mean_their_arithmetic),
      cmocka_unit_test(out_of_memory_gives_unknowns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
