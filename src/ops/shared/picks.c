#include "ops/shared/picks.h"

#include "ops/shared/rows.h"

#include <string.h>

/* n elements of a row, from place `to` on: those from place `from` of the input on, each `step` (1 or -1)
 * further, or the value (-1, step 0). */
typedef struct run {
  int64_t to, from, n, step;
} run;

/* Axes behind the last that changes are one element, of `size` bytes; a row goes along that axis. */
typedef struct picks {
  size_t size, value_size;
  uint64_t value[2];
  int rank; /* of the axes outside the row */
  int64_t dim[IFD_MAX_RANK], in_stride[IFD_MAX_RANK];
  const int64_t *index[IFD_MAX_RANK];
  int64_t n; /* elements of a row, from `row` or in runs */
  const int64_t *row;
  int n_runs;
  const run *runs;
  bool doubles; /* each element comes twice */
  ifd_rows rows;
} picks;

/* ---- a row ---- */

/* n elements of `narrow`, each twice, as so many of `wide`. */
#define DOUBLE(narrow, wide)                                                                                 \
  static void double_##narrow(char *to, const char *from, int64_t n) {                                       \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      narrow one;                                                                                            \
      memcpy(&one, from + (size_t)i * sizeof one, sizeof one);                                               \
      wide two = (wide)((wide)one << 8 * sizeof one | one);                                                  \
      memcpy(to + (size_t)i * sizeof two, &two, sizeof two);                                                 \
    }                                                                                                        \
  }
DOUBLE(uint8_t, uint16_t)
DOUBLE(uint16_t, uint32_t)
DOUBLE(uint32_t, uint64_t)

static void pick_elements(const picks *p, char *to, const char *from) {
  const int64_t *index = p->row;
#define COPY(bytes)                                                                                          \
  case bytes:                                                                                                \
    for (int64_t i = 0; i < p->n; i++) memcpy(to + i * bytes, from + index[i] * bytes, bytes);               \
    return;
  switch (p->size) {
    COPY(1)
    COPY(2)
    COPY(4)
    COPY(8)
    COPY(16)
    COPY(64) /* a block of channels */
  default:
    for (int64_t i = 0; i < p->n; i++)
      memcpy(to + (size_t)i * p->size, from + (size_t)index[i] * p->size, p->size);
  }
#undef COPY
}

static void fill(const picks *p, char *to, int64_t n) {
  size_t len = (size_t)n * p->size;
#define FILL(bytes)                                                                                          \
  case bytes:                                                                                                \
    for (size_t i = 0; i < len; i += bytes) memcpy(to + i, p->value, bytes);                                 \
    return;
  switch (p->value_size) {
    FILL(1)
    FILL(2)
    FILL(4)
    FILL(8)
    FILL(16)
  }
#undef FILL
}

static void copy_backwards(size_t size, char *to, const char *from, int64_t n) {
#define BACKWARDS(bytes)                                                                                     \
  case bytes:                                                                                                \
    for (int64_t i = 0; i < n; i++) memcpy(to + i * bytes, from - i * bytes, bytes);                         \
    return;
  switch (size) {
    BACKWARDS(1)
    BACKWARDS(2)
    BACKWARDS(4)
    BACKWARDS(8)
  default:
    for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * size, from - (size_t)i * size, size);
  }
#undef BACKWARDS
}

static void copy_runs(const picks *p, char *to, const char *from) {
  for (const run *r = p->runs; r < p->runs + p->n_runs; r++) {
    char *t = to + (size_t)r->to * p->size;
    const char *f = from + (size_t)r->from * p->size;
    if (r->from < 0)
      fill(p, t, r->n);
    else if (r->n == 1 && p->size == 4)
      memcpy(t, f, 4);
    else if (r->step < 0)
      copy_backwards(p->size, t, f, r->n);
    else
      memcpy(t, f, (size_t)r->n * p->size);
  }
}

static void make_row(const picks *p, char *to, const char *from) {
  if (p->n_runs)
    copy_runs(p, to, from);
  else if (p->doubles && p->size == 1)
    double_uint8_t(to, from, p->n / 2);
  else if (p->doubles && p->size == 2)
    double_uint16_t(to, from, p->n / 2);
  else if (p->doubles && p->size == 4)
    double_uint32_t(to, from, p->n / 2);
  else
    pick_elements(p, to, from);
}

/* ---- rows ---- */

/* The place of a row on each axis, the sum of what that is in the input, in elements, and how many axes lie
 * outside of it. */
typedef struct source {
  int64_t place[IFD_MAX_RANK], at;
  int outside;
} source;

static void enter(const picks *p, source *s, int axis, int sign) {
  int64_t index = p->index[axis][s->place[axis]];
  s->at += index < 0 ? 0 : sign * index * p->in_stride[axis];
  s->outside += index < 0 ? sign : 0;
}

static source source_of(const picks *p, int64_t row) {
  source s = {0};
  for (int a = p->rank - 1; a >= 0; row /= p->dim[a--]) {
    s.place[a] = row % p->dim[a];
    enter(p, &s, a, 1);
  }
  return s;
}

static void to_next_row(const picks *p, source *s) {
  for (int a = p->rank - 1; a >= 0; a--) {
    enter(p, s, a, -1);
    bool wraps = ++s->place[a] == p->dim[a];
    if (wraps) s->place[a] = 0;
    enter(p, s, a, 1);
    if (!wraps) return;
  }
}

static void run_picks(const void *params, const ifd_args *args, int task) {
  const picks *p = params;
  int64_t from, to, copied = -1;
  size_t row_len = (size_t)p->n * p->size;
  ifd_rows_of(&p->rows, task, &from, &to);
  source s = source_of(p, from);
  char *out = (char *)args->out[0] + (size_t)from * row_len;
  for (int64_t r = from; r < to; r++, out += row_len, to_next_row(p, &s)) {
    if (s.outside)
      fill(p, out, p->n);
    else if (s.at == copied)
      memcpy(out, out - row_len, row_len);
    else
      make_row(p, out, (const char *)args->in[0] + (size_t)s.at * p->size);
    copied = s.outside ? -1 : s.at;
  }
}

/* ---- lowering ---- */

static bool is_identity(const int64_t *index, int64_t n_in, int64_t n_out) {
  for (int64_t i = 0; i < n_out; i++)
    if (index[i] != i) return false;
  return n_in == n_out;
}

/* The run that begins at place `at` of a row. */
static run run_at(const picks *p, int64_t at) {
  run r = {.to = at, .from = p->row[at], .n = 1, .step = 1};
  if (r.from < 0) r.step = 0;
  if (r.from > 0 && at + 1 < p->n && p->row[at + 1] == r.from - 1) r.step = -1;
  for (int64_t next = r.from + r.step; at + r.n < p->n && p->row[at + r.n] == next; next += r.step, r.n++)
    if (next < 0 && r.step) break;
  return r;
}

/* Runs, where they are few or some are of the value. */
static ifd_status find_runs(ifd_lower *x, picks *p) {
  enum { LONG = 4 };
  bool values = false;
  run *runs;
  int n = 0;
  for (int64_t at = 0; at < p->n; at += run_at(p, at).n, n++) values |= p->row[at] < 0;
  if (!values && (int64_t)n * LONG > p->n) return IFD_OK;
  ALLOC(x->err, runs, ifd_new_array(x->arena, run, n));
  for (int64_t at = 0; at < p->n; at += runs[p->n_runs++].n) runs[p->n_runs] = run_at(p, at);
  p->runs = runs;
  return IFD_OK;
}

ifd_status ifd_lower_picks(ifd_lower *x, const ifd_shape *in, size_t size, const int64_t *const *index,
                           const void *value) {
  const ifd_shape *out = &x->out[0]->shape;
  picks p = {.size = size, .value_size = size};
  if (value) memcpy(p.value, value, size);
  ifd_shape outer = *in;
  int last = in->rank - 1;
  for (; last > 0 && is_identity(index[last], in->dim[last], out->dim[last]); last--)
    p.size *= (size_t)in->dim[last];
  outer.rank = last + 1;
  ifd_shape_strides(&outer, p.in_stride);
  p.rank = last;
  memcpy(p.dim, out->dim, sizeof p.dim);
  memcpy(p.index, index, (size_t)outer.rank * sizeof *index);
  p.row = index[last], p.n = out->dim[last];
  p.doubles = p.n == 2 * in->dim[last];
  for (int64_t i = 0; i < p.n; i++) p.doubles &= p.row[i] == i / 2;
  TRY(find_runs(x, &p));
  p.rows = ifd_rows_split(ifd_shape_span(out, 0, last), (double)p.n * (double)p.size / 4);
  x->work->algorithm = "picks";
  return ifd_lower_rows(x, run_picks, &p, sizeof p, &p.rows);
}
