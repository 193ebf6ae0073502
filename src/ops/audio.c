/* HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix: tables for the analysis of sound. */
#include <math.h>

#include "ops/shared/elements.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/values.h"

static ifd_status read_size(ifd_eval *x, int i, int64_t *out) {
  const int64_t *v;
  int64_t n;
  TRY(ifd_eval_ints(x, &v, &n, i));
  EXPECT(x->err, n == 1 && *v >= 0, BAD_INPUT, "input %d must be one number, 0 or more", i);
  *out = *v;
  return IFD_OK;
}

static ifd_status output_dtype(ifd_error *err, const ifd_node *node, ifd_dtype *out) {
  int64_t number = ifd_attr_int(node, "output_datatype");
  EXPECT(err, ifd_dtype_valid(number), BAD_MODEL, "attribute output_datatype is %lld", (long long)number);
  *out = (ifd_dtype)number;
  EXPECT(err, ifd_dtype_is_float(*out) || ifd_dtype_is_integer(*out), BAD_MODEL,
         "attribute output_datatype is %s, not a number's", ifd_dtype_name(*out));
  return IFD_OK;
}

/* ---- windows ---- */

static ifd_status infer_window(ifd_infer *x) {
  ifd_dtype dtype;
  ifd_dim n = ifd_elements_only(x, 0);
  TRY(output_dtype(x->err, x->node, &dtype));
  return ifd_infer_tensor(x, 0, dtype, 1, &n);
}

/* a - b cos(t) + c cos(2 t), where t goes once round the circle in `size` steps, or, where the window is
 * symmetric, in one less. */
static ifd_status cosine_window(ifd_eval *x, double a, double b, double c) {
  int64_t n;
  double *y;
  ifd_dtype dtype;
  TRY(read_size(x, 0, &n));
  TRY(output_dtype(x->err, x->node, &dtype));
  ifd_shape shape = {1, {n}};
  TRY(ifd_shape_check(x->err, &shape, sizeof *y));
  TRY(ifd_eval_zeros(x, &y, n));
  int64_t steps = ifd_attr_int(x->node, "periodic") ? n : n - 1;
  for (int64_t i = 0; i < n; i++) {
    double turn = steps ? (double)i / (double)steps : 0.5; /* a single point is the middle */
    y[i] = a - b * cos(2 * M_PI * turn) + c * cos(4 * M_PI * turn);
  }
  return ifd_eval_put_f64(x, 0, dtype, &shape, y);
}

static ifd_status eval_HannWindow(ifd_eval *x) { return cosine_window(x, 0.5, 0.5, 0); }
static ifd_status eval_HammingWindow(ifd_eval *x) { return cosine_window(x, 25.0 / 46, 21.0 / 46, 0); }
static ifd_status eval_BlackmanWindow(ifd_eval *x) { return cosine_window(x, 0.42, 0.5, 0.08); }

/* ---- MelWeightMatrix ---- */

enum { BINS, DFT_LENGTH, SAMPLE_RATE, LOWER, UPPER };

static double mel_of(double hertz) { return 2595 * log10(1 + hertz / 700); }
static double hertz_of(double mel) { return 700 * (pow(10, mel / 2595) - 1); }

typedef struct mel {
  int64_t n_bins, dft_len, rate, rows;
  double low, high; /* in mel */
} mel;

static ifd_status read_mel(ifd_eval *x, mel *m) {
  const double *low, *high;
  TRY(read_size(x, BINS, &m->n_bins));
  TRY(read_size(x, DFT_LENGTH, &m->dft_len));
  TRY(read_size(x, SAMPLE_RATE, &m->rate));
  TRY(ifd_eval_find_f64_n(x, &low, LOWER, 1, "lower_edge_hertz"));
  TRY(ifd_eval_find_f64_n(x, &high, UPPER, 1, "upper_edge_hertz"));
  EXPECT(x->err, m->rate > 0 && m->dft_len < INT32_MAX && m->n_bins < INT32_MAX, BAD_INPUT,
         "%lld bins of a transform of length %lld at %lld samples a second", (long long)m->n_bins,
         (long long)m->dft_len, (long long)m->rate);
  m->rows = m->dft_len / 2 + 1;
  m->low = mel_of(*low);
  m->high = mel_of(*high);
  return IFD_OK;
}

/* The row of the spectrum where triangle edge i lies. Edges are (high - low) / (n_bins + 2) apart, as ONNX's
 * reference has it. */
static ifd_status edge_row(ifd_eval *x, const mel *m, int64_t i, int64_t *out) {
  double hertz = hertz_of(m->low + (double)i * (m->high - m->low) / (double)(m->n_bins + 2));
  double row = floor((double)(m->dft_len + 1) * hertz / (double)m->rate);
  EXPECT(x->err, row >= 0 && row < (double)m->rows, BAD_INPUT,
         "%g Hz are outside of the spectrum of %lld bins", hertz, (long long)m->rows);
  *out = (int64_t)row;
  return IFD_OK;
}

/* Column i: a triangle from row a up to 1 at row b and down to row c. */
static void fill_triangle(const mel *m, double *y, int64_t i, int64_t a, int64_t b, int64_t c) {
  if (a == b) y[b * m->n_bins + i] = 1;
  for (int64_t j = a; a != b && j <= b; j++) y[j * m->n_bins + i] = (double)(j - a) / (double)(b - a);
  for (int64_t j = b; j < c; j++) y[j * m->n_bins + i] = (double)(c - j) / (double)(c - b);
}

static ifd_status eval_MelWeightMatrix(ifd_eval *x) {
  mel m;
  double *y;
  ifd_dtype dtype;
  TRY(read_mel(x, &m));
  TRY(output_dtype(x->err, x->node, &dtype));
  ifd_shape shape = {2, {m.rows, m.n_bins}};
  TRY(ifd_shape_check(x->err, &shape, sizeof *y));
  TRY(ifd_eval_zeros(x, &y, m.rows * m.n_bins));
  int64_t edge[3];
  for (int k = 1; k < 3 && m.n_bins; k++) TRY(edge_row(x, &m, k - 1, &edge[k]));
  for (int64_t i = 0; i < m.n_bins; i++) {
    edge[0] = edge[1], edge[1] = edge[2];
    TRY(edge_row(x, &m, i + 2, &edge[2]));
    fill_triangle(&m, y, i, edge[0], edge[1], edge[2]);
  }
  return ifd_eval_put_f64(x, 0, dtype, &shape, y);
}

static ifd_status infer_MelWeightMatrix(ifd_infer *x) {
  ifd_dtype dtype;
  ifd_dim half = ifd_dim_floor_div(x->dims, ifd_elements_only(x, DFT_LENGTH), 2);
  const ifd_dim dims[] = {ifd_dim_add(x->dims, half, 1), ifd_elements_only(x, BINS)};
  TRY(output_dtype(x->err, x->node, &dtype));
  return ifd_infer_tensor(x, 0, dtype, 2, dims);
}

#define ROW(name_, infer_)                                                                                   \
  { .name = #name_, .since = 17, .infer = infer_, .eval = eval_##name_ }
const ifd_op ifd_ops_audio[] = {ROW(HannWindow, infer_window),
                                ROW(HammingWindow, infer_window),
                                ROW(BlackmanWindow, infer_window),
                                ROW(MelWeightMatrix, infer_MelWeightMatrix),
                                {0}};
