#include "kernels/conv/line.h"
#include "kernels/part.h"

/* Neighbouring outputs whose sums are in registers together, a part of their lanes at a time. */
#if defined(IFD_ISA_avx512)
enum { AT_ONCE = 14 };
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif defined(IFD_ISA_avx2)
enum { AT_ONCE = 12 };
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
enum { AT_ONCE = 4 };
#define TILES(X) X(1) X(2) X(3) X(4)
#endif
#define UNROLL_ _Pragma("GCC unroll 32")
enum { MAX_TAPS = 7 }; /* of the kernels made for so many */
enum { NEAR = 128 };   /* outputs that still lie in L1 when what waits is done to them */

/* A row: its lines inside, of each plane; floats from where they are of row 0; where its outputs go. */
typedef struct row {
  int64_t first, end, x;
  float *y;
  const float *other;
} row;

/* Outputs of a tile: of halves, weights and a column are in registers, too. */
IFD_INLINE int at_once(const int n_w) { return IFD_PART == 16 || n_w <= 3 ? AT_ONCE : 15 - n_w; }

IFD_INLINE v16 first_sum(const ifd_conv_sink *to, int64_t o, int lane) {
  return to->init ? part_load(to->init + o * 16 + lane) : v16_zero();
}

/* Sums of N outputs from o on, as ifd_conv_fused_of; whatever a store may change is read before. */
IFD_INLINE void put(const int N, const ifd_conv_sink *to, const row *r, int64_t o, int lane, v16 *sum) {
  const ifd_conv_fused *f = &to->fused;
  const float *other = r->other ? r->other + o * 16 + lane : NULL;
  float *y = r->y + o * 16 + lane;
  if (f->fits || f->waits) {
    const float *bias = (const float *)&f->bias, *lo = (const float *)&f->lo, *hi = (const float *)&f->hi;
    const v16 b = part_load(bias + lane), l = part_load(lo + lane), h = part_load(hi + lane);
    const m16 lanes = m16_first(f->n_lanes - lane);
    if (other) UNROLL_ for (int i = 0; i < N; i++) {
        v16 v = v16_rounded(f->rounding, v16_add(sum[i], b));
        sum[i] = v16_add(v, part_load(other + i * 16));
      }
    else
      UNROLL_ for (int i = 0; i < N; i++) sum[i] = v16_add(sum[i], b);
    UNROLL_ for (int i = 0; i < N; i++) sum[i] =
        v16_select(lanes, v16_min(h, v16_max(l, sum[i])), v16_zero());
  }
  UNROLL_ for (int i = 0; i < N; i++) part_store(y + i * 16, sum[i]);
}

/* The taps of one line of x, for N outputs side by side. */
IFD_INLINE void sum_taps(const int N, const ifd_conv_line *l, const float *x, const float *w, v16 *sum) {
  for (int64_t k = 0; k < l->n_w; k++) {
    v16 wv = part_load(w + k * 16);
    UNROLL_ for (int i = 0; i < N; i++) sum[i] =
        v16_fma(part_load(x + (i * l->step + k * l->tap_step) * 16), wv, sum[i]);
  }
}

/* The columns that N outputs meet, of which [first, end) are inside the line. */
typedef struct columns {
  int64_t first, end;
} columns;

/* The same of n_w taps side by side: each column of x is loaded once for all the outputs that it meets. Of
 * the first and the last n_w - 1 columns some may be outside; in == NULL: none. */
IFD_INLINE void sum_columns(const int N, const int n_w, const int step, const columns *in, const float *x,
                            const float *w, v16 *sum) {
  v16 wv[MAX_TAPS];
  UNROLL_ for (int k = 0; k < n_w; k++) wv[k] = part_load(w + k * 16);
  UNROLL_ for (int j = 0; j < (N - 1) * step + n_w; j++) {
    if (in && j < n_w - 1 && j < in->first) continue;
    if (in && j > (N - 1) * step && j >= in->end) continue;
    v16 xv = part_keep(part_load(x + j * 16));
    UNROLL_ for (int k = 0; k < n_w; k++) {
      int i = (j - k) / step;
      if (j >= k && (j - k) % step == 0 && i < N) sum[i] = v16_fma(xv, wv[k], sum[i]);
    }
  }
}

/* The taps of one line of x side by side, however many. */
IFD_INLINE void sum_line(const int N, const ifd_conv_line *l, const float *x, const float *w, v16 *sum) {
  enum { SPAN = 4 };
  int64_t k = 0;
  for (; k + SPAN <= l->n_w; k += SPAN) sum_columns(N, SPAN, 1, NULL, x + k * 16, w + k * 16, sum);
  for (; k < l->n_w; k++) sum_columns(N, 1, 1, NULL, x + k * 16, w + k * 16, sum);
}

/* Part `lane` of outputs [o, o + N), of whose columns those `in` are inside the line; NULL: all. n_w and step
 * are constants, or n_w is 0. */
IFD_INLINE void sum_part(const int N, const int n_w, const int step, const ifd_conv_line *l, const row *r,
                         const columns *in, int64_t o, int lane, const ifd_conv_sink *to) {
  v16 sum[AT_ONCE];
  UNROLL_ for (int i = 0; i < N; i++) sum[i] = first_sum(to, o + i, lane);
  int64_t at = r->x + (l->begin + o * l->step) * 16 + lane, n_lines = r->end - r->first;
  const float *x_c = l->x + at, *w_c = l->w + lane;
  for (int64_t c = 0; c < l->n_c; c++, x_c += l->x_c, w_c += l->w_c) {
    const ifd_conv_tap_line *line = l->lines + r->first;
    for (int64_t d = 0; d < l->n_d; d++, line += l->n_h - n_lines)
      for (const ifd_conv_tap_line *end = line + n_lines; line < end; line++) {
        const float *x = x_c + line->x, *w = w_c + line->w;
        if (n_w)
          sum_columns(N, n_w, step, in, x, w, sum);
        else if (step)
          sum_line(N, l, x, w, sum);
        else
          sum_taps(N, l, x, w, sum);
      }
  }
  put(N, to, r, o, lane, sum);
}

IFD_INLINE void sum_tile(const int N, const int n_w, const int step, const ifd_conv_line *l, const row *r,
                         const columns *in, int64_t o, const ifd_conv_sink *to) {
  if (N > at_once(n_w)) return; /* no such tile is asked for */
  for (int lane = 0; lane < 16; lane += IFD_PART) sum_part(N, n_w, step, l, r, in, o, lane, to);
}

/* Part `lane` of output o, of which some tap lies outside the line. */
IFD_INLINE void sum_edge(const ifd_conv_line *l, const row *r, int64_t o, int lane, const ifd_conv_sink *to) {
  const ifd_conv_axis axis = {.begin = l->begin, .step = l->step, .n_taps = l->n_w, .tap_step = l->tap_step};
  int64_t first, n = ifd_conv_taps_inside(&axis, l->width, o, &first);
  int64_t at = r->x + (l->begin + o * l->step + first * l->tap_step) * 16 + lane;
  v16 sum = first_sum(to, o, lane);
  for (int64_t c = 0; c < l->n_c; c++)
    for (int64_t d = 0; d < l->n_d; d++)
      for (int64_t i = r->first; i < r->end; i++) {
        const ifd_conv_tap_line *line = l->lines + d * l->n_h + i;
        const float *x = l->x + (c * l->x_c + line->x + at);
        const float *w = l->w + c * l->w_c + line->w + first * 16 + lane;
        for (int64_t k = 0; k < n; k++)
          sum = v16_fma(part_load(x + k * l->tap_step * 16), part_load(w + k * 16), sum);
      }
  put(1, to, r, o, lane, &sum);
}

static __attribute__((noinline)) void edges_of(const ifd_conv_line *l, const row *r, int64_t o, int64_t end,
                                               const ifd_conv_sink *to) {
  for (; o < end; o++)
    for (int lane = 0; lane < 16; lane += IFD_PART) sum_edge(l, r, o, lane, to);
}
/* Outputs [o, end) of such a kind. A call that takes a copy leaves the row itself in registers. */
IFD_INLINE void sum_edges(const ifd_conv_line *l, const row *r, int64_t o, int64_t end,
                          const ifd_conv_sink *to) {
  if (o >= end) return;
  const row copy = *r;
  edges_of(l, &copy, o, end, to);
}

/* Outputs [o, o + n), at most a tile's. `line` is l in memory. */
IFD_INLINE void run_tile(const int n_w, const int step, const ifd_conv_line *line, const ifd_conv_line *l,
                         const row *r, int64_t o, int64_t n, const ifd_conv_sink *to) {
#define INSIDE(N)                                                                                            \
  case N:                                                                                                    \
    sum_tile(N, n_w, step, l, r, NULL, o, to);                                                               \
    return;
#define ENDS(N)                                                                                              \
  case N: sum_tile(N, n_w, step, l, r, &in, o, to); return;
  int64_t all = (n - 1) * l->step + n_w, at = l->begin + o * l->step;
  const columns in = {ifd_max_i64(0, -at), ifd_min_i64(all, l->width - at)};
  if (n_w <= 1 || (in.first == 0 && in.end == all)) switch (n) {
      TILES(INSIDE)
    }
  if (n_w > 1 && in.first < n_w && all - in.end < n_w) switch (n) {
      TILES(ENDS)
    }
  sum_edges(line, r, o, o + n, to);
}

/* Outputs [o, end) of each line: those at edges, before `first` and from `past` on, and `n` tiles as even as
 * may be, the first `more` of which have one output more than `least`. */
typedef struct split {
  int64_t o, end, first, past, n, least, more;
} split;

/* Tiles where these have ends or need none. */
IFD_INLINE split split_line(const int n_w, const ifd_conv_line *l, int64_t o, int64_t end) {
  int64_t reach = (l->n_w - 1) * l->tap_step, least = l->begin + ifd_min_i64(0, reach);
  int64_t most = l->begin + ifd_max_i64(0, reach);
  int64_t first = least < 0 ? ifd_ceil_div(-least, l->step) : 0;
  int64_t past = most < l->width ? (l->width - 1 - most) / l->step + 1 : 0;
  past = l->n_w == 0 ? 0 : ifd_min_i64(past, end);
  if (n_w > 1) first = o, past = end;
  first = ifd_max_i64(o, ifd_min_i64(end, first)), past = ifd_max_i64(first, past);
  int64_t n = ifd_ceil_div(past - first, at_once(n_w)), tiles = ifd_max_i64(1, n);
  return (split){o, end, first, past, n, (past - first) / tiles, (past - first) % tiles};
}

IFD_INLINE void run_row(const int n_w, const int step, const ifd_conv_line *line, const ifd_conv_line *l,
                        const row *r, const split *s, const ifd_conv_sink *to) {
  sum_edges(line, r, s->o, s->first, to);
  for (int64_t i = 0, at = s->first, n; i < s->n; i++, at += n) {
    n = s->least + (i < s->more);
    run_tile(n_w, step, line, l, r, at, n, to);
  }
  sum_edges(line, r, s->past, s->end, to);
}

IFD_INLINE void run_rows(const int n_w, const int step, const ifd_conv_line *line, const ifd_conv_line *l,
                         int64_t begin, int64_t end, const ifd_conv_sink *to) {
  const ifd_conv_axis lines = {.begin = l->top, .step = l->down, .n_taps = l->n_h, .tap_step = l->apart};
  const split s = split_line(n_w, l, begin, end);
  bool whole = to->fused.waits && to->y_row == (end - begin) * 16;
  int64_t at_once = whole ? NEAR / ifd_max_i64(1, end - begin) + 1 : 1, done = 0;
  row r = {.y = to->y, .other = to->other};
  for (int64_t i = 0; i < l->n_rows; i++, r.x += l->x_row) {
    r.end = ifd_conv_taps_inside(&lines, l->height, i, &r.first);
    r.end += r.first;
    run_row(n_w, step, line, l, &r, &s, to);
    r.y += to->y_row;
    if (r.other) r.other += to->y_row;
    if (++done < at_once && i < l->n_rows - 1) continue;
    ifd_conv_fused_end(&to->fused, r.y - done * to->y_row + begin * 16, done * (end - begin));
    done = 0;
  }
}

/* A copy in registers, with constants where there are: stores to y leave it alone. */
IFD_INLINE void run_copy(const ifd_conv_line *line, const int n_w, const int step, int64_t o, int64_t end,
                         const ifd_conv_sink *to) {
  ifd_conv_line l = *line;
  if (n_w) l.n_w = n_w, l.step = step, l.tap_step = 1;
  run_rows(n_w, step, line, &l, o, end, to);
}

#define KERNEL(n_w, step)                                                                                    \
  static __attribute__((noinline)) void line_##n_w##_##step(const ifd_conv_line *l, int64_t o, int64_t end,  \
                                                            const ifd_conv_sink *restrict to) {              \
    run_copy(l, n_w, step, o, end, to);                                                                      \
  }
IFD_CONV_LINE_KERNELS(KERNEL)
static __attribute__((noinline)) void line_wide(const ifd_conv_line *l, int64_t o, int64_t end,
                                                const ifd_conv_sink *to) {
  run_copy(l, 0, 1, o, end, to);
}
static void line_any(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to) {
  run_copy(l, 0, 0, o, end, to);
}

ifd_conv_line_kernel IFD_K(ifd_conv_line_find)(const ifd_conv_line *l) {
#define ROW(n_w, step) {n_w, step, line_##n_w##_##step},
  static const struct {
    int64_t n_w, step;
    ifd_conv_line_kernel run;
  } rows[] = {IFD_CONV_LINE_KERNELS(ROW)};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].n_w == l->n_w && rows[i].step == l->step && l->tap_step == 1) return rows[i].run;
  return l->step == 1 && l->tap_step == 1 ? line_wide : line_any;
}
