/* Short-time transforms: the same bits on every ISA for every length, number of frames and of bins, and
 * values against sums in double. */
#include "kcheck/buffer.h"

#include "kernels/fourier/fourier.h"
#include "kernels/kernels.h"

static const int64_t lengths[] = {2,  4,  6,  8,   10,  12,  16,  18,  24, 30,
                                  50, 64, 90, 128, 200, 240, 400, 512, 960};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

/* What one call makes: bins one after another, real parts of all before imaginary ones. */
typedef struct result {
  buffer y;
  int64_t bins, frames;
} result;

static result run(ifd_isa isa, const ifd_k_transform *f, ifd_k_fourier_frames p) {
  result r = {buffer_floats(2 * p.n_bins * p.n_frames), p.n_bins, p.n_frames};
  float *scratch = aligned_alloc(64, ifd_k_fourier_scratch_len(f->n));
  memset(r.y.f, 0, r.y.len);
  p.rs = p.n_frames;
  if (p.re) p.re = r.y.f;
  if (p.im) p.im = r.y.f + p.n_bins * p.n_frames;
  ifd_k_fourier(isa)->run(f, &p, scratch);
  free(scratch);
  return r;
}

/* Errors are those of the largest bin that the frame could have. */
static void check_values(const ifd_k_fourier_frames *p, int64_t n, const result *r) {
  for (int64_t i = 0; i < r->frames; i++)
    for (int64_t k = 0; k < r->bins; k++) {
      double re = 0, im = 0, most = 0;
      for (int64_t t = 0; t < n; t++) {
        const double v = (double)p->x[i * p->step + t] * p->window[t],
                     a = 2 * M_PI * (double)(k * t % n) / (double)n;
        re += v * cos(a), im -= v * sin(a), most += v * v;
      }
      most = 1e-6 * sqrt(most * (double)n);
      if (p->re) assert_true(fabs(r->y.f[k * r->frames + i] - re) <= most);
      if (p->im) assert_true(fabs(r->y.f[(r->bins + k) * r->frames + i] - p->im_sign * im) <= most);
    }
}

static void frames(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int round = 0; round < 8 * N_LENGTHS; round++) {
    const int64_t n = lengths[round % N_LENGTHS], n_frames = rand_in(&state, 1, IFD_FOURIER_FRAMES),
                  step = rand_in(&state, 1, n);
    const bool odd = round % 5 == 4;
    buffer x = buffer_floats((n_frames - 1) * step + n), window = buffer_floats(n);
    buffer_fill(&x, &state, odd), buffer_fill(&window, &state, false);
    assert_true(ifd_k_fourier_suits(n));
    void *tables = malloc(ifd_k_fourier_tables_len(n));
    ifd_k_transform f;
    ifd_k_fourier_init(&f, n, tables);
    const ifd_k_fourier_frames p = {.x = x.f,
                                    .step = step,
                                    .n_frames = n_frames,
                                    .window = window.f,
                                    .re = round % 7 == 3 ? NULL : x.f,
                                    .im = round % 7 == 4 ? NULL : x.f,
                                    .n_bins = rand_in(&state, 1, n / 2 + 1),
                                    .im_sign = round & 1 ? -1 : 1};
    result want = run(IFD_ISA_REF, &f, p);
    if (!odd) check_values(&p, n, &want);
    for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
      result y = run(isa, &f, p);
      assert_true(same_floats(y.y.f, want.y.f, 2 * want.bins * want.frames));
      buffer_free(&y.y);
    }
    buffer_free(&want.y), buffer_free(&x), buffer_free(&window);
    free(tables);
  }
}

static void no_others(void **unused) {
  (void)unused;
  static const int64_t n[] = {-2, 0, 1, 3, 7, 14, 22, 15, 2 * 49, 1 << 20};
  for (size_t i = 0; i < sizeof n / sizeof *n; i++) assert_false(ifd_k_fourier_suits(n[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(frames), cmocka_unit_test(no_others)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
