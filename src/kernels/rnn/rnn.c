#include "kernels/rnn/rnn.h"
#include "kernels/gemm/ukr.h"
#include "kernels/vmath.h"

/* ---- activations ---- */

IFD_INLINE v16 Sigmoid(v16 x, v16 a, v16 b) { return (void)a, (void)b, v16_sigmoid(x); }
IFD_INLINE v16 Tanh(v16 x, v16 a, v16 b) { return (void)a, (void)b, v16_tanh(x); }
IFD_INLINE v16 Relu(v16 x, v16 a, v16 b) { return (void)a, (void)b, v16_max(v16_zero(), x); }
IFD_INLINE v16 Affine(v16 x, v16 a, v16 b) { return v16_add(v16_mul(a, x), b); }
IFD_INLINE v16 LeakyRelu(v16 x, v16 a, v16 b) {
  return (void)b, v16_select(v16_lt(x, v16_zero()), v16_mul(a, x), x);
}
IFD_INLINE v16 ThresholdedRelu(v16 x, v16 a, v16 b) {
  return (void)b, v16_select(v16_lt(x, a), v16_zero(), x);
}
IFD_INLINE v16 ScaledTanh(v16 x, v16 a, v16 b) { return v16_mul(a, v16_tanh(v16_mul(b, x))); }
IFD_INLINE v16 HardSigmoid(v16 x, v16 a, v16 b) {
  return v16_min(v16_set1(1), v16_max(v16_zero(), v16_add(v16_mul(a, x), b)));
}
IFD_INLINE v16 Elu(v16 x, v16 a, v16 b) {
  return (void)b, v16_select(v16_lt(x, v16_zero()), v16_mul(a, v16_expm1(x)), x);
}
IFD_INLINE v16 Softsign(v16 x, v16 a, v16 b) {
  return (void)a, (void)b, v16_div(x, v16_add(v16_set1(1), v16_abs(x)));
}
IFD_INLINE v16 Softplus(v16 x, v16 a, v16 b) { return (void)a, (void)b, v16_softplus(x); }

IFD_INLINE v16_fraction whole(v16 x) { return (v16_fraction){x, v16_set1(1)}; }
IFD_INLINE v16 value(v16_fraction f) { return v16_div(f.n, f.d); }

static v16 activate_any(const ifd_k_rnn_cell *p, int which, v16 x) {
  const v16 a = v16_set1(p->f[which].alpha), b = v16_set1(p->f[which].beta);
  x = v16_min(v16_set1(p->clip), v16_max(v16_set1(-p->clip), x));
  switch (p->f[which].act) {
#define X(name)                                                                                              \
  case IFD_RNN_##name: return name(x, a, b);
    IFD_RNN_ACT_LIST(X)
#undef X
  default: return x;
  }
}

/* Activation `which` of a cell, which is to share its division with others; the usual cells (Sigmoid, Tanh,
 * Tanh without clip) know theirs beforehand. */
typedef enum usual { NO, YES } usual;
IFD_INLINE v16_fraction activate(usual u, const ifd_k_rnn_cell *p, int which, ifd_rnn_act known, v16 x) {
  if (u) return known == IFD_RNN_Sigmoid ? v16_sigmoid_fraction(x) : v16_tanh_fraction(x);
  return whole(activate_any(p, which, x));
}
static usual is_usual(const ifd_k_rnn_cell *p, int n, const ifd_rnn_act *known) {
  if (p->clip != INFINITY) return NO;
  for (int i = 0; i < n; i++)
    if (p->f[i].act != known[i]) return NO;
  return YES;
}

/* ---- steps ---- */

/* Sixteen, or the last few, of a gate's pre-activations */
IFD_INLINE v16 load_sum(const float *x, const float *r, size_t i, int width) {
  v16 v = v16_load_n(x + i, width);
  return r ? v16_add(v, v16_load_n(r + i, width)) : v;
}
#define FOR_SIXTEENS(i, width, n)                                                                            \
  for (size_t i = 0; i < n; i += 16)                                                                         \
    for (int width = n - i < 16 ? (int)(n - i) : 16, once = 1; once; once = 0)

/* 1 - f, a b and a b + c d */
IFD_INLINE v16_fraction rest(v16_fraction f) { return (v16_fraction){v16_sub(f.d, f.n), f.d}; }
IFD_INLINE v16_fraction product(v16_fraction a, v16_fraction b) {
  return (v16_fraction){v16_mul(a.n, b.n), v16_mul(a.d, b.d)};
}
IFD_INLINE v16_fraction sum_of_products(v16_fraction a, v16_fraction b, v16_fraction c, v16_fraction d) {
  const v16_fraction ab = product(a, b), cd = product(c, d);
  return (v16_fraction){v16_fma(ab.n, cd.d, v16_mul(cd.n, ab.d)), v16_mul(ab.d, cd.d)};
}

static const ifd_rnn_act lstm_acts[] = {IFD_RNN_Sigmoid, IFD_RNN_Tanh, IFD_RNN_Tanh};
static const ifd_rnn_act gru_acts[] = {IFD_RNN_Sigmoid, IFD_RNN_Tanh};

/* The pre-activation of LSTM's gate g, which may see a cell. */
IFD_INLINE v16 lstm_gate(const float *x, const float *r, const float *peephole, size_t g, v16 cell, size_t n,
                         size_t i, int width) {
  const v16 sum = load_sum(x + g * n, r ? r + g * n : NULL, i, width);
  return peephole ? v16_add(sum, v16_mul(v16_load_n(peephole + g * n + i, width), cell)) : sum;
}

/* Two loops: in one, a vector's operations would wait for one another longer than others could fill in. */
IFD_INLINE void lstm_step(usual u, const ifd_k_rnn_cell *p, const float *x, const float *r,
                          const float *peephole, const float *c, float *c_out, float *h_out, size_t n) {
  enum { I, O, F, C };
  FOR_SIXTEENS(i, width, n) {
    const v16 cell = v16_load_n(c + i, width);
    const v16 gates[] = {lstm_gate(x, r, peephole, I, cell, n, i, width),
                         lstm_gate(x, r, peephole, F, cell, n, i, width),
                         lstm_gate(x, r, NULL, C, cell, n, i, width)};
    const v16_fraction in = activate(u, p, 0, IFD_RNN_Sigmoid, gates[0]),
                       forget = p->input_forget ? rest(in) : activate(u, p, 0, IFD_RNN_Sigmoid, gates[1]),
                       candidate = activate(u, p, 1, IFD_RNN_Tanh, gates[2]);
    v16_store_n(c_out + i, value(sum_of_products(forget, whole(cell), in, candidate)), width);
  }
  FOR_SIXTEENS(i, width, n) {
    const v16 cell = v16_load_n(c_out + i, width);
    const v16_fraction out =
        activate(u, p, 0, IFD_RNN_Sigmoid, lstm_gate(x, r, peephole, O, cell, n, i, width));
    v16_store_n(h_out + i, value(product(out, activate(u, p, 2, IFD_RNN_Tanh, cell))), width);
  }
}
static void lstm(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *peephole,
                 const float *c, float *c_out, float *h_out, size_t n) {
  if (is_usual(p, 3, lstm_acts))
    lstm_step(YES, p, x, r, peephole, c, c_out, h_out, n);
  else
    lstm_step(NO, p, x, r, peephole, c, c_out, h_out, n);
}

/* (1 - z) * candidate + z * h */
IFD_INLINE v16_fraction blend(v16_fraction z, v16_fraction candidate, v16 h) {
  return (v16_fraction){v16_fma(v16_mul(z.n, h), candidate.d, v16_mul(v16_sub(z.d, z.n), candidate.n)),
                        v16_mul(z.d, candidate.d)};
}

IFD_INLINE void gru_linear_step(usual u, const ifd_k_rnn_cell *p, const float *x, const float *r,
                                const float *h, float *h_out, size_t n) {
  FOR_SIXTEENS(i, width, n) {
    const v16_fraction z = activate(u, p, 0, IFD_RNN_Sigmoid, load_sum(x, r, i, width)),
                       reset = activate(u, p, 0, IFD_RNN_Sigmoid, load_sum(x + n, r + n, i, width));
    const v16 recurrent = value(product(reset, whole(v16_load_n(r + 2 * n + i, width))));
    const v16_fraction candidate =
        activate(u, p, 1, IFD_RNN_Tanh, v16_add(v16_load_n(x + 2 * n + i, width), recurrent));
    v16_store_n(h_out + i, value(blend(z, candidate, v16_load_n(h + i, width))), width);
  }
}
static void gru_linear(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *h, float *h_out,
                       size_t n) {
  if (is_usual(p, 2, gru_acts))
    gru_linear_step(YES, p, x, r, h, h_out, n);
  else
    gru_linear_step(NO, p, x, r, h, h_out, n);
}

IFD_INLINE void gru_reset_step(usual u, const ifd_k_rnn_cell *p, const float *x, const float *r,
                               const float *h, float *z, float *reset_h, size_t n) {
  FOR_SIXTEENS(i, width, n) {
    const v16_fraction update = activate(u, p, 0, IFD_RNN_Sigmoid, load_sum(x, r, i, width)),
                       reset =
                           activate(u, p, 0, IFD_RNN_Sigmoid, load_sum(x + n, r ? r + n : NULL, i, width));
    v16_store_n(z + i, value(update), width);
    v16_store_n(reset_h + i, value(product(reset, whole(v16_load_n(h + i, width)))), width);
  }
}
static void gru_reset(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *h, float *z,
                      float *reset_h, size_t n) {
  if (is_usual(p, 1, gru_acts))
    gru_reset_step(YES, p, x, r, h, z, reset_h, n);
  else
    gru_reset_step(NO, p, x, r, h, z, reset_h, n);
}

IFD_INLINE void gru_update_step(usual u, const ifd_k_rnn_cell *p, const float *x, const float *r,
                                const float *z, const float *h, float *h_out, size_t n) {
  FOR_SIXTEENS(i, width, n) {
    const v16_fraction candidate = activate(u, p, 1, IFD_RNN_Tanh, load_sum(x, r, i, width));
    const v16_fraction blended = blend(whole(v16_load_n(z + i, width)), candidate, v16_load_n(h + i, width));
    v16_store_n(h_out + i, value(blended), width);
  }
}
static void gru_update(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *z,
                       const float *h, float *h_out, size_t n) {
  if (is_usual(p, 2, gru_acts))
    gru_update_step(YES, p, x, r, z, h, h_out, n);
  else
    gru_update_step(NO, p, x, r, z, h, h_out, n);
}

static void rnn(const ifd_k_rnn_cell *p, const float *x, const float *r, float *h_out, size_t n) {
  static const ifd_rnn_act acts[] = {IFD_RNN_Tanh};
  const usual u = is_usual(p, 1, acts);
  FOR_SIXTEENS(i, width, n) {
    const v16 pre = load_sum(x, r, i, width);
    v16_store_n(h_out + i, u ? v16_tanh(pre) : activate_any(p, 0, pre), width);
  }
}

/* ---- h R ---- */

#define UNROLL_ _Pragma("GCC unroll 8")

enum { CHAIN = IFD_UKR_CHAIN * 16, MOST_VECTORS = 8 };

/* Vectors of 16 columns that 1, 2… rows sum at once: enough chains for the latency of an fma, and no more
 * than there are registers for. */
#define VECTORS_1(X, rows) X(rows, 1)
#define VECTORS_2(X, rows) VECTORS_1(X, rows) X(rows, 2)
#define VECTORS_4(X, rows) VECTORS_2(X, rows) X(rows, 3) X(rows, 4)
#define VECTORS_8(X, rows) VECTORS_4(X, rows) X(rows, 5) X(rows, 6) X(rows, 7) X(rows, 8)
#if defined(IFD_ISA_avx512)
#define TILES(X) VECTORS_8(X, 1) VECTORS_8(X, 2) VECTORS_4(X, 3) VECTORS_4(X, 4)
static const size_t most_vectors[IFD_RNN_MAX_ROWS + 1] = {0, 8, 8, 4, 4};
#else
#define TILES(X) VECTORS_4(X, 1) VECTORS_2(X, 2) VECTORS_1(X, 3) VECTORS_1(X, 4)
static const size_t most_vectors[IFD_RNN_MAX_ROWS + 1] = {0, 4, 2, 1, 1};
#endif

/* Dense rows of h by panels of 16 columns side by side. */
typedef struct tile {
  const float *h, *b;
  size_t n;
} tile;

/* A chain of fmas over [k, end). Three panels are reached from one address. */
IFD_INLINE void chain(const size_t rows, const size_t vectors, const tile *t, size_t k, size_t end,
                      v16 sum[][MOST_VECTORS]) {
  const size_t panel = t->n * 16;
  const float *from[] = {t->b + k * 16, t->b + 3 * panel + k * 16, t->b + 6 * panel + k * 16};
  const float *h[IFD_RNN_MAX_ROWS];
  UNROLL_ for (size_t r = 0; r < rows; r++) {
    h[r] = t->h + r * t->n;
    UNROLL_ for (size_t v = 0; v < vectors; v++) sum[r][v] = v16_zero();
  }
  for (; k < end; k++, from[0] += 16, from[1] += 16, from[2] += 16) {
    v16 x[IFD_RNN_MAX_ROWS];
    UNROLL_ for (size_t r = 0; r < rows; r++) x[r] = v16_set1(h[r][k]);
    UNROLL_ for (size_t v = 0; v < vectors; v++) {
      const v16 w = v16_load(from[v / 3] + v % 3 * panel);
      if (rows == 1) { /* the load is the instruction's own */
        sum[0][v] = v16_fma(x[0], w, sum[0][v]);
      } else {
        const v16 kept = v16_keep(w);
        UNROLL_ for (size_t r = 0; r < rows; r++) v16_add_product(&sum[r][v], x[r], kept);
      }
    }
  }
}

IFD_INLINE void run_tile(const size_t rows, const size_t vectors, const tile *t, const float *bias, float *to,
                         size_t n_columns, size_t j) {
  v16 sum[IFD_RNN_MAX_ROWS][MOST_VECTORS], more[IFD_RNN_MAX_ROWS][MOST_VECTORS];
  chain(rows, vectors, t, 0, t->n < CHAIN ? t->n : CHAIN, sum);
  for (size_t k = CHAIN; k < t->n; k += CHAIN) {
    chain(rows, vectors, t, k, t->n - k < CHAIN ? t->n : k + CHAIN, more);
    UNROLL_ for (size_t r = 0; r < rows; r++) UNROLL_ for (size_t v = 0; v < vectors; v++) sum[r][v] =
        v16_add(sum[r][v], more[r][v]);
  }
  UNROLL_ for (size_t v = 0; v < vectors; v++, j += 16) {
    const int width = n_columns - j < 16 ? (int)(n_columns - j) : 16;
    UNROLL_ for (size_t r = 0; r < rows; r++) {
      const v16 y = bias ? v16_add(sum[r][v], v16_load_n(bias + j, width)) : sum[r][v];
      v16_store_n(to + r * n_columns + j, y, width);
    }
  }
}

/* The columns from j on. */
typedef void tile_kernel(const tile *t, const float *bias, float *to, size_t n_columns, size_t j);
#define KERNEL(rows, vectors)                                                                                \
  static __attribute__((noinline)) void tile_##rows##_##vectors(const tile *t, const float *bias, float *to, \
                                                                size_t n_columns, size_t j) {                \
    run_tile(rows, vectors, t, bias, to, n_columns, j);                                                      \
  }
TILES(KERNEL)

static void recur(const float *h, size_t n_rows, size_t n, const float *packed, size_t n_columns,
                  const float *bias, float *to, bool backward) {
#define ENTRY(rows, vectors) [rows][vectors] = tile_##rows##_##vectors,
  static tile_kernel *const kernels[IFD_RNN_MAX_ROWS + 1][MOST_VECTORS + 1] = {TILES(ENTRY)};
  const size_t all = (n_columns + 15) / 16, most = most_vectors[n_rows], n_tiles = (all + most - 1) / most;
  for (size_t i = 0; i < n_tiles; i++) {
    const size_t at = backward ? n_tiles - 1 - i : i, first = all * at / n_tiles,
                 vectors = all * (at + 1) / n_tiles - first;
    kernels[n_rows][vectors](&(tile){h, packed + first * n * 16, n}, bias, to, n_columns, first * 16);
  }
}

const struct ifd_k_rnn_table IFD_K(ifd_k_rnn) = {.recur = recur,
                                                 .lstm = lstm,
                                                 .gru_linear = gru_linear,
                                                 .gru_reset = gru_reset,
                                                 .gru_update = gru_update,
                                                 .rnn = rnn};
