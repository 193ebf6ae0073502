#include "ops/shared/narrow.h"

#include "base/checked.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"

/* Bits of an integer as kernels have it, and what makes it one that is not negative. */
typedef struct form {
  int bits;
  uint8_t added;
} form;
static const form forms[IFD_N_DTYPES] = {[IFD_UINT8] = {8, 0}, [IFD_INT8] = {8, 128}, [IFD_UINT4] = {4, 0},
                                         [IFD_INT4] = {4, 8},  [IFD_UINT2] = {4, 0},  [IFD_INT2] = {4, 2}};

bool ifd_narrow_is(ifd_dtype dtype) { return forms[dtype].bits != 0; }

/* A matrix [k, n] whose elements are rs and cs apart. */
typedef struct packing {
  const struct ifd_k_gemm_table *kernels; /* for floats */
  form form;
  int64_t n, k, rs, cs;
} packing;

/* The columns of a share. */
static void share_of(const packing *p, int share, int n_shares, int64_t *j0, int64_t *j1) {
  ifd_packing_share(ifd_ceil_div(p->n, 16), share, n_shares, j0, j1);
  *j0 *= 16, *j1 = ifd_min_i64(*j1 * 16, p->n);
}

static void pack_integers(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t j0, j1;
  share_of(p, share, n_shares, &j0, &j1);
  if (j0 < j1) ifd_k_narrow_pack(to, p->form.bits, p->form.added, from, p->rs, p->cs, p->k, j0, j1);
}

static void pack_floats(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t j0, j1;
  share_of(p, share, n_shares, &j0, &j1);
  if (j0 < j1) p->kernels->pack_f32(to, from, p->rs, p->cs, p->k, j0, j1);
}

static ifd_status pack(ifd_lower *x, const void **out, int input, const packing *p) {
  bool floats = p->kernels != NULL;
  size_t bytes = floats ? ifd_k_gemm_packed_len(p->n, p->k) : ifd_k_narrow_len(p->form.bits, p->n, p->k);
  x->work->unread |= 1u << input;
  return x->packed(x, out, x->in[input],
                   &(ifd_packing){.pack = floats ? pack_floats : pack_integers,
                                  .params = p,
                                  .params_size = sizeof *p,
                                  .bytes = bytes,
                                  .any_shape = true});
}

/* Scales or zero points: those of a column, or all, may be one. */
static packing blocks_of(const ifd_narrow_inputs *in, const ifd_tensor *t) {
  int64_t n = ifd_ceil_div(in->k, in->block);
  packing p = {.n = in->n, .k = n, .rs = in->turned ? 1 : in->n, .cs = in->turned ? n : 1};
  if (t->shape.rank < 2) p.rs = 0, p.cs = ifd_tensor_count(t) == 1 ? 0 : 1;
  return p;
}

ifd_status ifd_lower_narrow(ifd_lower *x, ifd_k_narrow *out, const ifd_narrow_inputs *inputs) {
  ifd_narrow_inputs in = *inputs;
  if (!in.block) in.block = in.k;
  form f = forms[x->in[in.b]->dtype];
  packing b = {.form = f, .n = in.n, .k = in.k, .rs = in.turned ? 1 : in.n, .cs = in.turned ? in.k : 1};
  packing scale = blocks_of(&in, x->in[in.scale]);
  const void *packed_b, *packed_scale, *packed_zero = NULL;
  scale.kernels = ifd_k_gemm(x->isa);
  TRY(pack(x, &packed_b, in.b, &b));
  TRY(pack(x, &packed_scale, in.scale, &scale));
  if (ifd_node_has_input(x->node, in.zero)) {
    packing zero = blocks_of(&in, x->in[in.zero]);
    zero.form = (form){8, f.added};
    TRY(pack(x, &packed_zero, in.zero, &zero));
  }
  *out = (ifd_k_narrow){.bits = f.bits,
                        .k = in.k,
                        .block = in.block,
                        .b = packed_b,
                        .scale = packed_scale,
                        .zero = packed_zero,
                        .added = f.added};
  return IFD_OK;
}
