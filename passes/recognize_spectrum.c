#include "ops/shared/fft.h"
#include "pass/ints.h"

#include <math.h>
#include <string.h>

/* A Conv of one channel whose weights are a Fourier basis under a window, as exporters write short-time
 * transforms, is taken by fast transforms (ops/own_spectrum.c): w[m][t] = window[t] · cos(2 pi k t / n), or
 * ± sin, for all m and t up to the rounding of the weights. */

enum { LEAST = 128, MOST = 1 << 23 }; /* a shorter one is as fast as a product; elements that are looked at */
static const double tolerance = 0x1p-22; /* of the largest weight */

/* Bin k's real part is row real + k step, its imaginary part, times sign, row imaginary + k step; < 0:
 * none. */
typedef struct layout {
  int64_t bins, real, imaginary, step, sign;
} layout;

typedef struct basis {
  const ifd_tensor *weights;
  int64_t rows, n, stride, pads[2];
  double *values;  /* of one row of the weights */
  double *wave;    /* and what it is without the window */
  double *re, *im; /* exp(-2 pi i t / n) */
  double *window;
  layout l;
} basis;

/* ---- Conv ---- */

/* Of an attribute with a number for each axis, all but the last otherwise's: the last. */
static bool last_of(const ifd_node *conv, const char *name, int from, int n, int64_t otherwise,
                    int64_t *out) {
  const int64_t *v;
  int given = ifd_node_ints(conv, name, &v);
  *out = otherwise;
  if (!given) return true;
  if (given < from + n) return false;
  for (int i = 0; i < n - 1; i++)
    if (v[from + i] != otherwise) return false;
  *out = v[from + n - 1];
  return true;
}

/* Whether a signal of one channel meets such weights along the last axis alone. */
static bool is_line(ifd_rewrite *rw, const ifd_value *x, const ifd_shape *w) {
  if (ifd_rw_rank(rw, x) != w->rank || ifd_rw_dtype(rw, x) != IFD_FLOAT) return false;
  for (int i = 1; i < w->rank - 1; i++)
    if (w->dim[i] != 1 || ifd_rw_dim(rw, x, i) != 1) return false;
  return true;
}

/* Whether conv is one without bias along a line of one channel; its weights, and how it moves. */
static bool read_conv(ifd_rewrite *rw, const ifd_node *conv, basis *b) {
  int64_t dilation;
  const ifd_tensor *w = b->weights = ifd_rw_constant(rw, conv->inputs[1]);
  if (!w || w->dtype != IFD_FLOAT || w->shape.rank < 3 || ifd_node_input(conv, 2)) return false;
  const ifd_shape *s = &w->shape;
  int axes = s->rank - 2;
  b->rows = s->dim[0], b->n = s->dim[s->rank - 1];
  if (b->n < LEAST || !ifd_fft_has_kernel(b->n) || b->rows < b->n / 8 || b->rows > b->n + 2 ||
      b->rows > MOST / b->n || !is_line(rw, conv->inputs[0], s) || ifd_node_int(conv, "group", 1) != 1)
    return false;
  if (!last_of(conv, "strides", 0, axes, 1, &b->stride) ||
      !last_of(conv, "dilations", 0, axes, 1, &dilation) || !last_of(conv, "pads", 0, axes, 0, &b->pads[0]) ||
      !last_of(conv, "pads", axes, axes, 0, &b->pads[1]))
    return false;
  bool pads = b->pads[0] || b->pads[1];
  return b->stride > 0 && dilation == 1 && b->pads[0] >= 0 && b->pads[1] >= 0 &&
         (ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET") ||
          (!pads && ifd_node_string_is(conv, "auto_pad", "NOTSET", "VALID")));
}

/* ---- the basis ---- */

/* Row m is window[t] · sign · wave[k t mod n]. */
typedef struct row {
  const double *wave;
  double sign;
  int64_t k;
} row;

static row row_of(const basis *b, int64_t m) {
  const layout *l = &b->l;
  int64_t from = m - l->imaginary;
  bool imaginary = l->imaginary >= 0 && from >= 0 && from % l->step == 0 && from / l->step < l->bins;
  if (imaginary) return (row){b->im, (double)l->sign, from / l->step};
  return (row){b->re, 1, (m - l->real) / l->step};
}

static const double *values_of(const basis *b, int64_t m) {
  ifd_tensor_get_f64s(b->weights, m * b->n, b->values, b->n);
  return b->values;
}

static double largest(const double *v, int64_t n, double most) {
  for (int64_t i = 0; i < n; i++) most = fabs(v[i]) > most ? fabs(v[i]) : most;
  return most;
}

static double largest_weight(const basis *b) {
  double most = 0;
  for (int64_t m = 0; m < b->rows; m++) most = largest(values_of(b, m), b->n, most);
  return most;
}

/* Of row m; half a turn on, it is the same or the opposite (n is even, or there are no kernels). */
static const double *wave_of(const basis *b, int64_t m) {
  const row r = row_of(b, m);
  const int64_t period = b->n / 2;
  double *wave = b->wave;
  for (int64_t t = 0, at = 0; t < period; t++, at = at + r.k < b->n ? at + r.k : at + r.k - b->n)
    wave[t] = r.sign * r.wave[at];
  for (int64_t t = period; t < b->n; t++) wave[t] = r.k % 2 ? -wave[t - period] : wave[t - period];
  return wave;
}

/* The window that is nearest to all rows; 0 where every wave is. */
static void fit_window(basis *b, double *squares) {
  memset(b->window, 0, (size_t)b->n * sizeof *b->window);
  memset(squares, 0, (size_t)b->n * sizeof *squares);
  for (int64_t m = 0; m < b->rows; m++) {
    const double *w = values_of(b, m), *v = wave_of(b, m);
    for (int64_t t = 0; t < b->n; t++) b->window[t] += w[t] * v[t], squares[t] += v[t] * v[t];
  }
  for (int64_t t = 0; t < b->n; t++) b->window[t] = squares[t] > 1e-6 ? b->window[t] / squares[t] : 0;
}

/* Of row m, how many weights are off by more than `error`. */
static int64_t n_off(const basis *b, int64_t m, double error) {
  const row r = row_of(b, m);
  const int64_t period = b->n / 2;
  const double *first = values_of(b, m), *second = first + period, *window = b->window;
  const double again = r.k % 2 ? -r.sign : r.sign;
  int64_t off = 0;
  for (int64_t t = 0, at = 0; t < period; t++) {
    const double v = r.wave[at];
    off += !(fabs(first[t] - window[t] * (r.sign * v)) <= error);
    off += !(fabs(second[t] - window[period + t] * (again * v)) <= error);
    at = at + r.k < b->n ? at + r.k : at + r.k - b->n;
  }
  return off;
}

/* Whether each row, or one of so many, is a wave under the window, not off by more than `error`. */
static bool has_window(const basis *b, double error, int64_t of) {
  for (int64_t m = 0; m < b->rows; m += of)
    if (n_off(b, m, error)) return false;
  return error > 0 && isfinite(error);
}

/* Bin 0 of the real parts is the window itself, and the largest weights are there. Most other weights, and
 * other layouts, fail at the first look. */
static bool has_first_window(basis *b) {
  const double *first = values_of(b, b->l.real);
  memcpy(b->window, first, (size_t)b->n * sizeof *first);
  const double error = tolerance * largest(first, b->n, 0);
  return has_window(b, 2 * error, (b->rows + 7) / 8) && has_window(b, error, 1);
}

/* Bin 0 of the imaginary parts is zero: the window is where all rows together say. */
static bool has_fitted_window(basis *b, double *scratch) {
  const layout *l = &b->l;
  const double second = largest(values_of(b, l->imaginary + l->step), b->n, 0);
  if (largest(values_of(b, l->imaginary), b->n, 0) > tolerance * second) return false;
  fit_window(b, scratch);
  return has_window(b, tolerance * largest_weight(b), 1);
}

/* Real parts, imaginary parts, or both: one after the other, or in turns. */
static bool find_layout(basis *b, double *scratch) {
  int64_t m = b->rows, half = m / 2, most = b->n / 2 + 1;
  const layout all[] = {{m, 0, -1, 1, 1},       {m, -1, 0, 1, 1},      {half, 0, half, 1, 1},
                        {half, 0, half, 1, -1}, {half, 0, 1, 2, 1},    {half, 0, 1, 2, -1},
                        {half, half, 0, 1, 1},  {half, half, 0, 1, -1}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    bool both = all[i].real >= 0 && all[i].imaginary >= 0;
    if (all[i].bins > most || (both && m % 2)) continue;
    b->l = all[i];
    if (b->l.real >= 0 ? has_first_window(b) : has_fitted_window(b, scratch)) return true;
  }
  return false;
}

/* ---- the patch ---- */

static ifd_status set_ints(ifd_error *err, ifd_node *node, const basis *b, int64_t channels) {
  const struct {
    const char *name;
    int64_t value;
  } attrs[] = {{"length", b->n},    {"stride", b->stride}, {"channels", channels},
               {"bins", b->l.bins}, {"real", b->l.real},   {"imaginary", b->l.imaginary},
               {"step", b->l.step}, {"sign", b->l.sign}};
  for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
    TRY(ifd_node_set_int(err, node, attrs[i].name, attrs[i].value));
  return IFD_OK;
}

/* The signal, with zeros around where the Conv pads it. */
static ifd_status padded(ifd_rewrite *rw, ifd_value **x, const basis *b) {
  int64_t pads[2 * IFD_MAX_RANK] = {0};
  int rank = ifd_rw_rank(rw, *x);
  ifd_node *node;
  if (!b->pads[0] && !b->pads[1]) return IFD_OK;
  pads[rank - 1] = b->pads[0], pads[2 * rank - 1] = b->pads[1];
  TRY(ifd_ints_add_node(rw, &node, "Pad", *x, "pads", pads, 2 * rank, 1));
  *x = node->outputs[0];
  return IFD_OK;
}

static ifd_status add_spectrum(ifd_rewrite *rw, ifd_node **out, ifd_node *conv, const basis *b,
                               int64_t channels) {
  ifd_value *inputs[2] = {conv->inputs[0]};
  ifd_tensor window;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &window, ifd_rw_arena(rw), IFD_FLOAT, &(ifd_shape){1, {b->n}}));
  for (int64_t t = 0; t < b->n; t++) ((float *)window.data)[t] = (float)b->window[t];
  TRY(ifd_rw_add_constant(rw, &inputs[1], &window, "window"));
  TRY(padded(rw, &inputs[0], b));
  TRY(ifd_rw_add_node(rw, out, "infold.Spectrum", inputs, 2, 1));
  (*out)->name = conv->name;
  return set_ints(ifd_rw_error(rw), *out, b, channels);
}

/* ---- the rule ---- */

static ifd_status make_waves(ifd_rewrite *rw, basis *b) {
  ALLOC(ifd_rw_error(rw), b->re, ifd_new_array(ifd_rw_scratch(rw), double, b->n));
  ALLOC(ifd_rw_error(rw), b->im, ifd_new_array(ifd_rw_scratch(rw), double, b->n));
  ALLOC(ifd_rw_error(rw), b->values, ifd_new_array(ifd_rw_scratch(rw), double, b->n));
  ALLOC(ifd_rw_error(rw), b->wave, ifd_new_array(ifd_rw_scratch(rw), double, b->n));
  ALLOC(ifd_rw_error(rw), b->window, ifd_new_array(ifd_rw_scratch(rw), double, b->n));
  for (int64_t t = 0; t < b->n; t++) {
    const ifd_complex root = ifd_fft_root(t, b->n);
    b->re[t] = root.re, b->im[t] = root.im;
  }
  return IFD_OK;
}

/* Another Conv of the same signal whose rows are the imaginary parts that b lacks, under the same window. */
static ifd_status find_other_half(ifd_rewrite *rw, ifd_node **out, const ifd_node *conv, basis *b) {
  const ifd_value *x = conv->inputs[0];
  const basis real = *b;
  *out = NULL;
  for (int i = 0; i < x->uses.n && real.l.imaginary < 0; i++) {
    ifd_node *other = x->uses.v[i].node;
    basis found = real;
    if (other == conv || !ifd_node_is(other, "Conv") || other->graph != conv->graph ||
        other->inputs[0] != x || !read_conv(rw, other, &found) || found.rows != real.rows ||
        found.n != real.n || found.stride != real.stride ||
        memcmp(found.pads, real.pads, sizeof found.pads) != 0)
      continue;
    const double error = tolerance * largest(b->window, b->n, 0);
    for (found.l = (layout){real.rows, -1, 0, 1, 1}; found.l.sign >= -1; found.l.sign -= 2)
      if (has_window(&found, error, 1)) {
        b->l = (layout){real.rows, 0, real.rows, 1, found.l.sign};
        *out = other;
        return IFD_OK;
      }
  }
  return IFD_OK;
}

static ifd_status recognize(ifd_rewrite *rw, ifd_node *conv) {
  double *scratch;
  basis b;
  ifd_node *other, *spectrum, *split;
  if (ifd_rw_exact_conv(rw) || !read_conv(rw, conv, &b)) return IFD_OK;
  TRY(make_waves(rw, &b));
  ALLOC(ifd_rw_error(rw), scratch, ifd_new_array(ifd_rw_scratch(rw), double, b.n));
  if (!find_layout(&b, scratch)) return ifd_rw_refuse(rw, "its weights are no Fourier basis");
  TRY(find_other_half(rw, &other, conv, &b));
  TRY(add_spectrum(rw, &spectrum, conv, &b, other ? 2 * b.rows : b.rows));
  if (!other) return ifd_rw_replace(rw, conv->outputs[0], spectrum->outputs[0]);
  TRY(ifd_ints_add_split(rw, &split, spectrum->outputs[0], 1, (const int64_t[]){b.rows, b.rows}, 2));
  TRY(ifd_rw_replace(rw, conv->outputs[0], split->outputs[0]));
  return ifd_rw_replace(rw, other->outputs[0], split->outputs[1]);
}

/* Before what takes convolutions. */
const ifd_pass ifd_pass_recognize_spectrum = {
    .summary = "takes convolutions with a Fourier basis by fast transforms",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"Conv", IFD_REASSOCIATES, recognize}, {0}},
};
