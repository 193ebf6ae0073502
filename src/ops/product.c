/* infold.MatMul: MatMul with what follows it in its stores, which plans make and files never see. Input 0 is
 * A, 1 is B (or, with transB, its last two dimensions exchanged), 2 one bias for each column, 3 the operand
 * of attribute `join`, laid out as the result; 2 and 3 may be absent. B may be a matrix of 16-bit floats, or
 * a quantized one, whose DequantizeLinear has inputs 4 and 5 and attribute block_size as scales, zero points
 * and block_size. The other attributes are those of shared/epilogue.h, and packed_output and packed_input:
 * between products that both have theirs, whose B are matrices, the rows of each index of the first dimension
 * lie as packed A (kernels/gemm/gemm.h) where packs() says so. */
#include <string.h>

#include "ops/shared/epilogue.h"
#include "ops/shared/gemm_work.h"
#include "ops/shared/matmul.h"
#include "ops/shared/narrow.h"

enum { A, B, BIAS, OTHER, SCALE, ZERO };

static ifd_status infer_product(ifd_infer *x) {
  const ifd_type *b = x->in[B];
  if (!ifd_node_int(x->node, "transB", 0) || !b->has_rank || b->rank < 2)
    return ifd_matmul_infer(x, A, B, IFD_FLOAT);
  const ifd_type *in[2] = {x->in[A]};
  ifd_dim dims[IFD_MAX_RANK];
  ifd_infer turned = *x;
  memcpy(dims, b->dims, (size_t)b->rank * sizeof *dims);
  dims[b->rank - 2] = b->dims[b->rank - 1], dims[b->rank - 1] = b->dims[b->rank - 2];
  ALLOC(x->err, in[B], ifd_type_tensor(x->arena, IFD_FLOAT, b->rank, dims));
  turned.in = in;
  return ifd_matmul_infer(&turned, A, B, IFD_FLOAT);
}

/* The sizes, B as MatMul has it. */
static ifd_status sizes_of(ifd_error *err, ifd_matmul *p, const ifd_node *node, const ifd_shape *a,
                           const ifd_shape *b) {
  ifd_shape turned = *b;
  int n = b->rank;
  if (ifd_node_int(node, "transB", 0) && n >= 2)
    turned.dim[n - 2] = b->dim[n - 1], turned.dim[n - 1] = b->dim[n - 2];
  return ifd_matmul_init(err, p, a, &turned);
}

/* Only what is empty is left to an evaluation: everything else is lowered. */
static ifd_status eval_product(ifd_eval *x) {
  ifd_matmul p;
  ifd_tensor *out;
  TRY(sizes_of(x->err, &p, x->node, &ifd_eval_in(x, A)->shape, &ifd_eval_in(x, B)->shape));
  EXPECT(x->err, ifd_shape_count(&p.out) == 0, UNSUPPORTED, "a fused product runs on kernels alone");
  return ifd_eval_out(x, &out, 0, IFD_FLOAT, &p.out);
}

/* From the sizes of one sample alone: rows enough that reading B for these by themselves costs nothing. */
static bool packs(const ifd_shape *shape) {
  enum { ROWS = 56 };
  int last = shape->rank - 1;
  return last >= 2 && shape->dim[last] % 16 == 0 && ifd_shape_span(shape, 1, last) >= ROWS;
}

/* Products of the rows of one index of the first dimension each, packed A, C or both. */
static void pack(ifd_products *p, const ifd_matmul *s, bool a, bool c) {
  if (!a && !c) return;
  p->m = ifd_shape_span(&s->out, 1, s->out.rank - 1);
  p->batch = (ifd_shape){.rank = 1, .dim = {s->out.dim[0]}};
  p->a_batch[0] = p->m * p->k, p->b_batch[0] = 0, p->c_batch[0] = p->m * p->n;
  if (a) p->a_vs = p->m * 16;
  if (c) p->c_rs = 16, p->c_vs = p->m * 16;
}

static ifd_status lower_product(ifd_lower *x) {
  ifd_matmul s;
  TRY(sizes_of(x->err, &s, x->node, &x->in[A]->shape, &x->in[B]->shape));
  bool turned = ifd_node_int(x->node, "transB", 0);
  ifd_products p = ifd_products_of(&s, x->in[B]->shape.rank);
  if (turned) p.b_rs = 1, p.b_cs = s.k;
  pack(&p, &s, ifd_node_int(x->node, "packed_input", 0) && packs(&x->in[A]->shape),
       ifd_node_int(x->node, "packed_output", 0) && packs(&s.out));
  ifd_gemm_epilogue e = {.e = ifd_epilogue_of(x->node)};
  e.e.other_rs = s.n;
  bool bias = ifd_node_has_input(x->node, BIAS), other = ifd_node_has_input(x->node, OTHER);
  EXPECT(x->err,
         (!bias || ifd_tensor_count(x->in[BIAS]) == s.n) &&
             (!other || ifd_tensor_count(x->in[OTHER]) == ifd_shape_count(&s.out)),
         BAD_INPUT, "the bias or the other operand does not fit the result");
  if (bias) e.bias = (ifd_operand){.place = IFD_OPERAND_INPUT, .input = BIAS};
  if (other) e.other = (ifd_operand){.place = IFD_OPERAND_INPUT, .input = OTHER, .step = p.m * p.n};
  ifd_k_narrow narrow;
  if (x->in[B]->dtype != IFD_FLOAT) {
    const ifd_narrow_inputs in = {B, SCALE, ZERO, s.n, s.k, ifd_node_int(x->node, "block_size", 0), turned};
    TRY(ifd_lower_narrow(x, &narrow, &in));
    p.narrow = &narrow;
  }
  return ifd_lower_products(x, &p, A, B, &e);
}

static double cost_product(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return in[0].rank ? (double)in[0].dim[in[0].rank - 1] * (double)ifd_shape_count(&out[0]) : 0;
}

static const char *batch_product(const ifd_batch *b) { return (void)b, "mmwp"; }

const ifd_op ifd_ops_product[] = {{.name = "MatMul",
                                   .domain = "infold",
                                   .infer = infer_product,
                                   .eval = eval_product,
                                   .lower = lower_product,
                                   .cost = cost_product,
                                   .batch = batch_product},
                                  {0}};
