#include "ops/shared/narrow.h"

#include "base/checked.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"

/* The form that kernels read, and what makes an integer one that is not negative. */
typedef struct form {
  bool is;
  ifd_k_narrow_form form;
  uint8_t added;
} form;
static const form forms[IFD_N_DTYPES] = {
    [IFD_UINT8] = {true, IFD_K_NARROW_BYTES, 0},     [IFD_INT8] = {true, IFD_K_NARROW_BYTES, 128},
    [IFD_UINT4] = {true, IFD_K_NARROW_HALVES, 0},    [IFD_INT4] = {true, IFD_K_NARROW_HALVES, 8},
    [IFD_UINT2] = {true, IFD_K_NARROW_HALVES, 0},    [IFD_INT2] = {true, IFD_K_NARROW_HALVES, 2},
    [IFD_FLOAT16] = {true, IFD_K_NARROW_FLOAT16, 0}, [IFD_BFLOAT16] = {true, IFD_K_NARROW_BFLOAT16, 0}};

bool ifd_narrow_is(ifd_dtype dtype) { return forms[dtype].is; }

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

static void pack_narrow(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t j0, j1;
  share_of(p, share, n_shares, &j0, &j1);
  if (j0 < j1) ifd_k_narrow_pack(to, p->form.form, p->form.added, from, p->rs, p->cs, p->k, j0, j1);
}

static void pack_floats(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t j0, j1;
  share_of(p, share, n_shares, &j0, &j1);
  if (j0 < j1) p->kernels->pack_f32(to, from, p->rs, p->cs, p->k, j0, j1);
}

static ifd_status pack(ifd_lower *x, const void **out, int input, const packing *p) {
  bool floats = p->kernels != NULL;
  size_t bytes = floats ? ifd_k_gemm_packed_len(p->n, p->k) : ifd_k_narrow_len(p->form.form, p->n, p->k);
  x->work->unread |= 1u << input;
  return x->packed(x, out, x->in[input],
                   &(ifd_packing){.pack = floats ? pack_floats : pack_narrow,
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

/* What makes numbers of integers. */
static ifd_status pack_shared(ifd_lower *x, ifd_k_narrow *out, const ifd_narrow_inputs *in) {
  packing scale = blocks_of(in, x->in[in->scale]);
  const void *packed;
  scale.kernels = ifd_k_gemm(x->isa);
  TRY(pack(x, &packed, in->scale, &scale));
  out->scale = packed;
  if (!ifd_node_has_input(x->node, in->zero)) return IFD_OK;
  packing zero = blocks_of(in, x->in[in->zero]);
  zero.form = (form){true, IFD_K_NARROW_BYTES, out->added};
  TRY(pack(x, &packed, in->zero, &zero));
  out->zero = packed;
  return IFD_OK;
}

ifd_status ifd_lower_narrow(ifd_lower *x, ifd_k_narrow *out, const ifd_narrow_inputs *inputs) {
  ifd_narrow_inputs in = *inputs;
  if (!in.block) in.block = in.k;
  form f = forms[x->in[in.b]->dtype];
  packing b = {.form = f, .n = in.n, .k = in.k, .rs = in.turned ? 1 : in.n, .cs = in.turned ? in.k : 1};
  const void *packed;
  TRY(pack(x, &packed, in.b, &b));
  *out = (ifd_k_narrow){.form = f.form, .k = in.k, .block = in.block, .b = packed, .added = f.added};
  return ifd_node_has_input(x->node, in.scale) ? pack_shared(x, out, &in) : IFD_OK;
}
