/* TopK. */
#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "kernels/move/move.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/move.h"
#include "ops/shared/order.h"
#include <math.h>
#include <string.h>

/* An element of a row as one number, greater where it is better: its key, turned round where the smallest are
 * wanted; of equal ones the first. */
typedef unsigned __int128 entry;

static entry entry_of(bool largest, int64_t key, int64_t index) {
  return (entry)((uint64_t)(largest ? key : ~key) ^ (uint64_t)INT64_MIN) << 64 | ~(uint64_t)index;
}
static int64_t index_of(entry e) { return (int64_t) ~(uint64_t)e; }

/* One row at a time: its elements side by side, and the best of them as a heap whose root is the worst. */
typedef struct top {
  ifd_dtype dtype;
  bool largest;
  int64_t n, k;
  const char *row;    /* of dtype */
  const float *near;  /* the same as floats, in the same order; */
  bool exact;         /* where no two that differ become one */
  entry *heap, *room; /* of k entries each, or of n where all are sorted */
  float *maxima;      /* of groups */
  int64_t n_groups;
  float bound; /* what is near to none better than this are not among the best; NaN: none is known */
} top;

/* Groups of a row: for each of the k best some, and enough to be compared side by side. */
enum { GROUPS = 4, LEAST_GROUPS = 64 };
static int64_t groups_of(int64_t n, int64_t k) {
  return GROUPS * k < LEAST_GROUPS && n >= 4 * LEAST_GROUPS ? LEAST_GROUPS : GROUPS * k;
}

/* Puts e where entry `at` is and moves it down among the first n. */
static void sift(entry *heap, int64_t n, int64_t at, entry e) {
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    child += child + 1 < n && heap[child + 1] < heap[child];
    if (heap[child] >= e) break;
    heap[at] = heap[child];
  }
  heap[at] = e;
}

static void merge_entries(entry *to, const entry *a, int64_t na, const entry *b, int64_t nb) {
  const entry *a_end = a + na, *b_end = b + nb;
  while (a < a_end && b < b_end) {
    bool takes_b = *b > *a;
    *to++ = *(takes_b ? b : a);
    b += takes_b, a += !takes_b;
  }
  memcpy(to, a < a_end ? a : b, (size_t)(a_end - a + b_end - b) * sizeof *to);
}

/* a or b, without a branch. */
static inline int64_t choose(bool takes_b, int64_t a, int64_t b) { return a + ((b - a) & -(int64_t)takes_b); }

/* Two runs of n, one after the other, from both ends to the middle: two chains that do not wait for each
 * other, and neither can leave its runs. */
static void merge_equal(entry *to, const entry *from, int64_t n) {
  int64_t a = 0, b = n, a_last = n - 1, b_last = 2 * n - 1;
  for (int64_t i = 0; i < n; i++) {
    bool takes_b = from[b] > from[a], leaves_a = from[a_last] < from[b_last];
    to[i] = from[choose(takes_b, a, b)];
    b += takes_b, a += !takes_b;
    to[2 * n - 1 - i] = from[choose(leaves_a, b_last, a_last)];
    a_last -= leaves_a, b_last -= !leaves_a;
  }
}

/* Best first: runs of doubling length, merged without a branch on what is compared. */
static void sort_entries(entry *entries, entry *room, int64_t n) {
  entry *from = entries, *to = room;
  for (int64_t run = 1; run < n; run *= 2) {
    int64_t i = 0;
    for (; i + 2 * run <= n; i += 2 * run) merge_equal(to + i, from + i, run);
    int64_t na = ifd_min_i64(run, n - i);
    merge_entries(to + i, from + i, na, from + i + na, n - i - na);
    entry *swap = from;
    from = to;
    to = swap;
  }
  if (from != entries) memcpy(entries, from, (size_t)n * sizeof *entries);
}

enum { BLOCK = 64 };

/* Elements [from, from + n) of the row as entries. */
static void load_entries(const top *t, int64_t from, int64_t n, entry *to) {
  int64_t keys[BLOCK];
  for (int64_t at = 0; at < n; at += BLOCK) {
    int64_t some = ifd_min_i64(BLOCK, n - at);
    ifd_order_number_keys(t->dtype, t->row + (size_t)(from + at) * ifd_dtype_size(t->dtype), keys, some);
    for (int64_t i = 0; i < some; i++) to[at + i] = entry_of(t->largest, keys[i], from + at + i);
  }
}

/* Whether one of n, which are near to these floats, may be better than the worst kept: most blocks of a row
 * hold none. */
static bool may_hold_better(const top *t, const float *v, int64_t n, float worst) {
  int better = 0;
  if (t->largest)
    for (int64_t i = 0; i < n; i++) better |= !(v[i] <= worst);
  else
    for (int64_t i = 0; i < n; i++) better |= !(v[i] >= worst);
  return better;
}

/* The k-th greatest of n numbers, in any order afterwards; -INFINITY where that takes too many rounds. */
static float select_greatest(float *v, int64_t n, int64_t k) {
  enum { ROUNDS = 32 };
  for (int round = 0; round < ROUNDS; round++) {
    float pivot = v[n / 2];
    int64_t n_greater = 0, n_equal = 0;
    for (int64_t i = 0; i < n; i++) {
      float x = v[i];
      v[i] = v[n_greater], v[n_greater] = x;
      n_greater += x > pivot;
    }
    if (k <= n_greater) {
      n = n_greater;
      continue;
    }
    v += n_greater, n -= n_greater, k -= n_greater;
    for (int64_t i = 0; i < n; i++) {
      float x = v[i];
      v[i] = v[n_equal], v[n_equal] = x;
      n_equal += x == pivot;
    }
    if (k <= n_equal) return pivot;
    v += n_equal, n -= n_equal, k -= n_equal;
  }
  return -INFINITY;
}

/* Of the maxima of groups k reach the k-th greatest of them, and so do k elements: what lies below it need
 * not be offered. */
static float find_bound(const top *t) {
  const float *v = t->near, sign = t->largest ? 1 : -1;
  const int64_t n = t->n_groups;
  for (int64_t i = 0; i < n; i++) t->maxima[i] = -INFINITY;
  for (int64_t at = 0; at < t->n; at += n)
    for (int64_t i = 0, some = ifd_min_i64(n, t->n - at); i < some; i++) {
      float x = sign * v[at + i];
      t->maxima[i] = x > t->maxima[i] ? x : t->maxima[i];
    }
  float kth = select_greatest(t->maxima, n, t->k);
  return kth == -INFINITY ? NAN : sign * nextafterf(kth, -INFINITY);
}

/* What an element must be nearer to something better than; nothing is no better than NaN. Doubles beyond
 * floats are all near to an infinity: next to it there is none that is worse. */
static float worst_of(const top *t) {
  const float least = t->largest ? -INFINITY : INFINITY;
  float root = t->near[index_of(t->heap[0])];
  if (!t->exact) root = root == least ? NAN : nextafterf(root, least);
  return t->largest ? fmaxf(root, t->bound) : fminf(root, t->bound);
}

/* One by one those that may be better, of the eights that hold one. */
static void offer(top *t, int64_t from, int64_t n) {
  enum { FEW = 8 };
  const float *v = t->near;
  float worst = worst_of(t);
  if (!may_hold_better(t, v + from, n, worst)) return;
  for (int64_t few = from; few < from + n; few += FEW) {
    int64_t end = ifd_min_i64(few + FEW, from + n);
    if (!may_hold_better(t, v + few, end - few, worst)) continue;
    for (int64_t i = few; i < end; i++) {
      if (t->largest ? v[i] <= worst : v[i] >= worst) continue;
      entry e;
      load_entries(t, i, 1, &e);
      if (t->heap[0] < e) sift(t->heap, t->k, 0, e);
      worst = worst_of(t);
    }
  }
}

/* Most of a row is rather sorted than offered. */
static bool sorts_all(const top *t) { return t->k > t->n / 2; }

/* t->heap: the best t->k entries of the row, best first. */
static void find_best(top *t) {
  int64_t n = sorts_all(t) ? t->n : t->k;
  t->bound = t->maxima ? find_bound(t) : NAN;
  load_entries(t, 0, n, t->heap);
  if (n < t->n)
    for (int64_t at = t->k / 2 - 1; at >= 0; at--) sift(t->heap, t->k, at, t->heap[at]);
  for (int64_t i = n; i < t->n; i += BLOCK) offer(t, i, ifd_min_i64(BLOCK, t->n - i));
  sort_entries(t->heap, t->room, n);
}

/* Rows of few elements, and the greatest of each row, are found many rows at a time. */
typedef struct finder {
  ifd_reduce_arg *greatest; /* or NULL */
  ifd_reduce_top *top;      /* or NULL */
} finder;

static finder find_many(const struct ifd_k_reduce_table *kernels, const top *t, bool columns) {
  finder f = {0};
  if (t->k == 1 && t->largest && t->n < INT32_MAX) f.greatest = kernels->arg(t->dtype, columns);
  if (!f.greatest && t->n <= IFD_REDUCE_FEW) f.top = kernels->top(t->dtype, columns);
  return f;
}

/* data: of t's type; the values are those of `in`. */
static void top_of_many(finder f, const struct ifd_k_move_table *move, const top *t, const char *data,
                        const ifd_tensor *in, int64_t outer, int64_t inner, char *values, int64_t *indices) {
  const bool columns = inner > 1;
  const int64_t m = columns ? inner : outer, stride = columns ? inner : t->n, steps = columns ? outer : 1;
  const size_t size = ifd_dtype_size(in->dtype);
  const ifd_k_gather picks = {.size = size,
                              .step = columns ? (int64_t)size : 0,
                              .stride = inner * (int64_t)size,
                              .limit = t->n,
                              .wide = true};
  const int64_t n_picks = columns ? inner : t->k;
  bool failed;
  for (int64_t o = 0; o < steps; o++) {
    const char *from = data + (size_t)(o * t->n * inner) * ifd_dtype_size(t->dtype);
    int64_t *to = indices + o * t->k * inner;
    if (f.greatest)
      f.greatest(false, false, from, (size_t)stride, (size_t)t->n, (size_t)m, to);
    else
      f.top(!t->largest, from, (size_t)stride, (size_t)t->n, (size_t)m, (size_t)t->k, to);
  }
  for (int64_t at = 0; at < outer * t->k * inner; at += n_picks)
    move->gather(&picks, values + (size_t)at * size,
                 (const char *)in->data + (size_t)(at / (t->k * inner) * t->n * inner) * size, indices + at,
                 n_picks, &failed);
}

/* The rows along an axis of a tensor: element j of row (o, i) is (o * n + j) * inner + i. All but floats
 * become floats (NULL: they are), 16-bit ones for good. */
static void top_of_rows(top *t, const ifd_tensor *in, int64_t outer, int64_t inner,
                        ifd_el_cast_row *to_floats, char *room, float *near, char *values, int64_t *indices) {
  size_t size = ifd_dtype_size(in->dtype);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      char *row = (char *)in->data + (size_t)(o * t->n * inner + i) * size;
      if (inner > 1)
        ifd_move(&(ifd_shape){1, {t->n}}, size, (ifd_view){.data = room, .stride = {1}},
                 (ifd_view){.data = row, .stride = {inner}});
      if (inner > 1) row = room;
      if (to_floats) to_floats(row, near, (size_t)t->n);
      t->near = to_floats ? near : (const float *)row;
      t->row = t->dtype == IFD_FLOAT ? (const char *)t->near : row;
      find_best(t);
      for (int64_t j = 0; j < t->k; j++) {
        int64_t to = (o * t->k + j) * inner + i, index = index_of(t->heap[j]);
        indices[to] = index;
        memcpy(values + (size_t)to * size, row + (size_t)index * size, size);
      }
    }
}

static ifd_status top_k(ifd_eval *x, int64_t k) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *values, *indices;
  ifd_shape shape = in->shape;
  int axis;
  EXPECT(x->err, x->n_out == 2, BAD_MODEL, "%d outputs, not two", x->n_out);
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", -1), shape.rank));
  top t = {.dtype = in->dtype, .largest = ifd_node_int(x->node, "largest", 1), .n = shape.dim[axis], .k = k};
  EXPECT(x->err, k >= 0 && k <= t.n, BAD_INPUT, "the %lld best of %lld elements", (long long)k,
         (long long)t.n);
  shape.dim[axis] = k;
  TRY(ifd_move_out(x, &values, 0, in->dtype, &shape));
  TRY(ifd_move_out(x, &indices, 1, IFD_INT64, &shape));
  if (ifd_shape_count(&shape) == 0) return IFD_OK;
  const int64_t outer = ifd_shape_span(&shape, 0, axis), inner = ifd_shape_span(&shape, axis + 1, shape.rank);
  ifd_el_cast_row *to_floats = t.dtype == IFD_FLOAT ? NULL : ifd_k_eltwise(x->isa)->cast(IFD_FLOAT, t.dtype);
  const bool wide = ifd_dtype_is_half(t.dtype);
  if (wide) t.dtype = IFD_FLOAT;
  const finder many = find_many(ifd_k_reduce(x->isa), &t, inner > 1);
  if (many.greatest || many.top) {
    char *data = in->data;
    if (wide) {
      const int64_t count = ifd_tensor_count(in);
      ALLOC(x->err, data, ifd_arena_alloc_array(x->scratch, (size_t)count, sizeof(float)));
      to_floats(in->data, data, (size_t)count);
    }
    top_of_many(many, ifd_k_move(x->isa), &t, data, in, outer, inner, values->data, indices->data);
    return IFD_OK;
  }
  int64_t n_entries = sorts_all(&t) ? t.n : k;
  ALLOC(x->err, t.heap, ifd_new_array(x->scratch, entry, n_entries));
  ALLOC(x->err, t.room, ifd_new_array(x->scratch, entry, n_entries));
  t.n_groups = groups_of(t.n, k);
  t.exact = t.dtype == IFD_FLOAT || ifd_dtypes[t.dtype].bits <= 16;
  if (t.n / 4 >= t.n_groups) ALLOC(x->err, t.maxima, ifd_new_array(x->scratch, float, t.n_groups));
  char *room;
  float *near;
  ALLOC(x->err, room, ifd_arena_alloc_array(x->scratch, (size_t)t.n, ifd_dtype_size(in->dtype)));
  ALLOC(x->err, near, ifd_new_array(x->scratch, float, t.n));
  top_of_rows(&t, in, outer, inner, to_floats, room, near, values->data, indices->data);
  return IFD_OK;
}

static ifd_status infer_top_k(ifd_infer *x, ifd_dim k) {
  int rank = ifd_known_rank(x, 0), axis;
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0) {
    TRY(ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0)));
    return ifd_infer_unranked(x, 1, IFD_INT64);
  }
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", -1), rank));
  memcpy(dims, x->in[0]->dims, (size_t)rank * sizeof *dims);
  dims[axis] = k;
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims));
  return ifd_infer_tensor(x, 1, IFD_INT64, rank, dims);
}

static ifd_status infer_TopK_1(ifd_infer *x) {
  return infer_top_k(x, ifd_dim_number(x->dims, ifd_node_int(x->node, "k", -1)));
}
static ifd_status eval_TopK_1(ifd_eval *x) { return top_k(x, ifd_node_int(x->node, "k", -1)); }

static ifd_status infer_TopK(ifd_infer *x) {
  const ifd_elements *k = ifd_elements_find(x, 1);
  return infer_top_k(x, k && k->n == 1 ? k->d[0] : ifd_dim_unknown(x->dims));
}

static ifd_status eval_TopK(ifd_eval *x) {
  const int64_t *k;
  int64_t n;
  TRY(ifd_eval_ints(x, &k, &n, 1));
  EXPECT(x->err, n == 1, BAD_INPUT, "K has %lld elements, not one", (long long)n);
  return top_k(x, *k);
}

#define ROW(since_, infer_, eval_)                                                                           \
  { .name = "TopK", .since = since_, .infer = infer_, .eval = eval_, .batch = ifd_batch_last_axis }
const ifd_op ifd_ops_top_k[] = {ROW(1, infer_TopK_1, eval_TopK_1), ROW(10, infer_TopK, eval_TopK), {0}};
