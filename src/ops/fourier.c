/* DFT, STFT: transforms in double (shared/fft.h), rounded once. */
#include "ops/shared/elements.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/fft.h"
#include "ops/shared/move.h"
#include "ops/shared/values.h"

/* Signals are tensors whose last dimension is 1 (real) or 2 (real and imaginary part). */
static ifd_status expect_signal(ifd_error *err, const ifd_shape *s, int least_rank) {
  bool fits = s->rank >= least_rank && (s->dim[s->rank - 1] == 1 || s->dim[s->rank - 1] == 2);
  char text[256];
  EXPECT(err, fits, BAD_INPUT,
         "a signal has %d dimensions or more, the last of size 1 or 2, and not shape %s", least_rank,
         ifd_shape_text(s, text, sizeof text));
  return IFD_OK;
}

static ifd_complex load(const double *v, int64_t parts) { return (ifd_complex){v[0], parts == 2 ? v[1] : 0}; }

static ifd_status read_scalar(ifd_eval *x, int i, int64_t *out) {
  const int64_t *v;
  int64_t n;
  if (!ifd_eval_has(x, i)) return IFD_OK;
  TRY(ifd_eval_ints(x, &v, &n, i));
  EXPECT(x->err, n == 1, BAD_INPUT, "input %d has %lld elements, not one", i, (long long)n);
  *out = *v;
  return IFD_OK;
}

/* ---- DFT ---- */

typedef struct dft {
  bool inverse, onesided;
  int axis;
  int64_t n; /* length of the transform */
  int64_t n_in, n_out, in_parts, out_parts;
  int64_t outer, inner; /* signals: dimensions before and after the axis */
  ifd_complex *x, *scratch;
  ifd_fft fft;
} dft;

static bool dft_flag(const ifd_node *node, const char *name) { return ifd_node_int(node, name, 0) != 0; }

/* The axis, which cannot be the last dimension. */
static ifd_status dft_axis(ifd_error *err, int *out, int64_t axis, int rank) {
  TRY(ifd_axis(err, out, axis, rank));
  EXPECT(err, *out != rank - 1, BAD_INPUT, "axis %lld is that of the real and imaginary parts",
         (long long)axis);
  return IFD_OK;
}

static ifd_status read_dft(ifd_eval *x, dft *d, int64_t axis) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  TRY(expect_signal(x->err, s, 2));
  *d = (dft){.inverse = dft_flag(x->node, "inverse"),
             .onesided = dft_flag(x->node, "onesided"),
             .in_parts = s->dim[s->rank - 1]};
  TRY(dft_axis(x->err, &d->axis, axis, s->rank));
  d->n_in = s->dim[d->axis];
  d->n = d->inverse && d->onesided ? 2 * (d->n_in - 1) : d->n_in;
  TRY(read_scalar(x, 1, &d->n));
  EXPECT(x->err, d->n >= 1, BAD_INPUT, "a transform of length %lld", (long long)d->n);
  EXPECT(x->err, !d->onesided || d->inverse || d->in_parts == 1, BAD_INPUT,
         "the one-sided transform is one of real signals; this one is complex");
  d->n_out = d->onesided && !d->inverse ? d->n / 2 + 1 : d->n;
  d->out_parts = d->onesided && d->inverse ? 1 : 2;
  d->outer = ifd_shape_span(s, 0, d->axis);
  d->inner = ifd_shape_span(s, d->axis + 1, s->rank - 1);
  TRY(ifd_fft_init(x->err, &d->fft, x->scratch, d->n));
  ALLOC(x->err, d->x, ifd_new_array(x->scratch, ifd_complex, d->n));
  ALLOC(x->err, d->scratch, ifd_new_array(x->scratch, ifd_complex, ifd_fft_scratch(&d->fft)));
  return IFD_OK;
}

/* A one-sided spectrum stands for all of it: bin n - k is the conjugate of bin k, and bins that are their own
 * mirror image are real. */
static void mirror(ifd_complex *x, int64_t n) {
  x[0].im = 0;
  if (n % 2 == 0) x[n / 2].im = 0;
  for (int64_t k = 1; k < n - k; k++) x[n - k] = (ifd_complex){x[k].re, -x[k].im};
}

/* One signal, elements `inner` apart: cut or padded with zeros, transformed, stored. */
static void transform(const dft *d, const double *in, double *out) {
  int64_t used = ifd_min_i64(d->n_in, d->onesided && d->inverse ? d->n / 2 + 1 : d->n);
  for (int64_t k = 0; k < d->n; k++)
    d->x[k] = k < used ? load(in + k * d->inner * d->in_parts, d->in_parts) : (ifd_complex){0};
  if (d->onesided && d->inverse) mirror(d->x, d->n);
  ifd_fft_run(&d->fft, d->x, d->scratch, d->inverse);
  for (int64_t k = 0; k < d->n_out; k++) {
    double *to = out + k * d->inner * d->out_parts;
    to[0] = d->x[k].re;
    if (d->out_parts == 2) to[1] = d->x[k].im;
  }
}

static ifd_status run_dft(ifd_eval *x, int64_t axis) {
  ifd_shape shape = *ifd_eval_shape(x, 0);
  const double *in;
  double *y;
  dft d;
  TRY(read_dft(x, &d, axis));
  shape.dim[d.axis] = d.n_out;
  shape.dim[shape.rank - 1] = d.out_parts;
  TRY(ifd_shape_check(x->err, &shape, sizeof *y));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&shape)));
  for (int64_t o = 0; o < d.outer; o++)
    for (int64_t i = 0; i < d.inner; i++)
      transform(&d, in + (o * d.n_in * d.inner + i) * d.in_parts,
                y + (o * d.n_out * d.inner + i) * d.out_parts);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &shape, y);
}

static ifd_status eval_DFT_17(ifd_eval *x) { return run_dft(x, ifd_attr_int(x->node, "axis")); }
static ifd_status eval_DFT_20(ifd_eval *x) {
  int64_t axis = -2;
  TRY(read_scalar(x, 2, &axis));
  return run_dft(x, axis);
}

static ifd_dim half_plus_one(ifd_infer *x, ifd_dim n) {
  return ifd_dim_add(x->dims, ifd_dim_floor_div(x->dims, n, 2), 1);
}

/* Without a known axis the dimensions are still those of the input, if none of them changes. */
static ifd_status infer_dft(ifd_infer *x, bool knows_axis, int64_t axis) {
  int rank = ifd_known_rank(x, 0), at;
  bool inverse = dft_flag(x->node, "inverse"), onesided = dft_flag(x->node, "onesided");
  bool keeps = knows_axis || (!onesided && !ifd_node_has_input(x->node, 1));
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  for (int i = 0; i < rank; i++) dims[i] = keeps ? ifd_infer_dim(x, 0, i) : ifd_dim_unknown(x->dims);
  dims[rank - 1] = onesided && inverse ? 1 : 2;
  if (knows_axis) {
    TRY(dft_axis(x->err, &at, axis, rank));
    if (ifd_node_has_input(x->node, 1))
      dims[at] = ifd_elements_only(x, 1);
    else if (onesided && inverse)
      dims[at] = ifd_dim_mul(x->dims, 2, ifd_dim_sub(x->dims, dims[at], 1));
    if (onesided && !inverse) dims[at] = half_plus_one(x, dims[at]);
  }
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

static ifd_status infer_DFT_17(ifd_infer *x) { return infer_dft(x, true, ifd_attr_int(x->node, "axis")); }
static ifd_status infer_DFT_20(ifd_infer *x) {
  const int64_t *axis;
  if (!ifd_node_has_input(x->node, 2)) return infer_dft(x, true, -2);
  bool known = ifd_infer_numbers(x, 2, &axis) == 1;
  return infer_dft(x, known, known ? *axis : 0);
}

/* ---- STFT ---- */

/* The signal is [batch, length, 1 or 2]; real ones are met without the last dimension, too (ONNX Runtime
 * takes them so). */
enum { SIGNAL, STEP, WINDOW, LENGTH };

typedef struct stft {
  int64_t parts, n_signal, step, len, n_frames, n_bins;
  const double *window; /* or NULL */
  ifd_complex *x, *scratch;
  ifd_fft fft;
} stft;

static ifd_status read_stft(ifd_eval *x, stft *s) {
  const ifd_shape *shape = ifd_eval_shape(x, SIGNAL);
  EXPECT(x->err, shape->rank == 2 || shape->rank == 3, BAD_INPUT, "the signal has rank %d, not 3",
         shape->rank);
  if (shape->rank == 3) TRY(expect_signal(x->err, shape, 3));
  *s = (stft){.parts = shape->rank == 3 ? shape->dim[2] : 1, .n_signal = shape->dim[1]};
  s->len = ifd_eval_has(x, WINDOW) ? ifd_tensor_count(ifd_eval_in(x, WINDOW)) : s->n_signal;
  TRY(read_scalar(x, STEP, &s->step));
  TRY(read_scalar(x, LENGTH, &s->len));
  EXPECT(x->err, s->step >= 1 && s->len >= 1, BAD_INPUT, "frames of %lld samples, %lld apart",
         (long long)s->len, (long long)s->step);
  TRY(ifd_eval_find_f64_n(x, &s->window, WINDOW, s->len, "window"));
  bool onesided = ifd_attr_int(x->node, "onesided") != 0;
  EXPECT(x->err, !onesided || s->parts == 1, BAD_INPUT,
         "the one-sided transform is one of real signals; this one is complex");
  s->n_frames = s->n_signal < s->len ? 0 : (s->n_signal - s->len) / s->step + 1;
  s->n_bins = onesided ? s->len / 2 + 1 : s->len;
  TRY(ifd_fft_init(x->err, &s->fft, x->scratch, s->len));
  ALLOC(x->err, s->x, ifd_new_array(x->scratch, ifd_complex, s->len));
  ALLOC(x->err, s->scratch, ifd_new_array(x->scratch, ifd_complex, ifd_fft_scratch(&s->fft)));
  return IFD_OK;
}

static void transform_frame(const stft *s, const double *in, double *out) {
  for (int64_t k = 0; k < s->len; k++) {
    double weight = s->window ? s->window[k] : 1;
    ifd_complex v = load(in + k * s->parts, s->parts);
    s->x[k] = (ifd_complex){v.re * weight, v.im * weight};
  }
  ifd_fft_run(&s->fft, s->x, s->scratch, false);
  for (int64_t k = 0; k < s->n_bins; k++) {
    out[2 * k] = s->x[k].re;
    out[2 * k + 1] = s->x[k].im;
  }
}

static ifd_status eval_STFT(ifd_eval *x) {
  const double *in;
  double *y;
  stft s;
  TRY(read_stft(x, &s));
  int64_t batch = ifd_eval_shape(x, SIGNAL)->dim[0];
  ifd_shape shape = {4, {batch, s.n_frames, s.n_bins, 2}};
  TRY(ifd_shape_check(x->err, &shape, sizeof *y));
  TRY(ifd_eval_f64(x, &in, SIGNAL));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&shape)));
  for (int64_t f = 0; f < batch * s.n_frames; f++) {
    int64_t first = f / s.n_frames * s.n_signal + f % s.n_frames * s.step;
    transform_frame(&s, in + first * s.parts, y + f * s.n_bins * 2);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, SIGNAL), &shape, y);
}

static ifd_status infer_STFT(ifd_infer *x) {
  int rank = ifd_infer_rank(x, SIGNAL);
  ifd_dim len = ifd_dim_unknown(x->dims),
          n = rank >= 0 ? ifd_infer_dim(x, SIGNAL, 1) : ifd_dim_unknown(x->dims);
  EXPECT(x->err, rank < 0 || rank == 2 || rank == 3, BAD_MODEL, "the signal has rank %d, not 3", rank);
  if (ifd_node_has_input(x->node, LENGTH))
    len = ifd_elements_only(x, LENGTH);
  else if (!ifd_node_has_input(x->node, WINDOW))
    len = n;
  else if (ifd_infer_rank(x, WINDOW) == 1)
    len = ifd_infer_dim(x, WINDOW, 0);
  ifd_dim step = ifd_elements_only(x, STEP), frames = ifd_dim_unknown(x->dims);
  if (ifd_dim_is_number(step) && step > 0)
    frames = ifd_dim_add(x->dims, ifd_dim_floor_div(x->dims, ifd_dim_sub(x->dims, n, len), step), 1);
  const ifd_dim dims[] = {rank >= 0 ? ifd_infer_dim(x, SIGNAL, 0) : ifd_dim_unknown(x->dims),
                          ifd_dim_max(x->dims, frames, 0),
                          ifd_attr_int(x->node, "onesided") ? half_plus_one(x, len) : len, 2};
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, SIGNAL), 4, dims);
}

#define ROW(name_, since_, infer_, eval_)                                                                    \
  { .name = name_, .since = since_, .infer = infer_, .eval = eval_ }
const ifd_op ifd_ops_fourier[] = {ROW("DFT", 17, infer_DFT_17, eval_DFT_17),
                                  ROW("DFT", 20, infer_DFT_20, eval_DFT_20),
                                  ROW("STFT", 17, infer_STFT, eval_STFT),
                                  {0}};
