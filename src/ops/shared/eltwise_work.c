#include "ops/shared/eltwise_work.h"

#include "kernels/kernels.h"
#include "ops/shared/elementwise.h"
#include <string.h>

enum { BLOCK = 1024 }; /* elements that all steps pass over while they are in the first-level cache */

/* ---- running ---- */

typedef struct program {
  int n_operands, n_steps;
  int step[IFD_LOOP_OPERANDS]; /* of the loop's operands */
  size_t size, out_size;
  ifd_dtype dtype;
  ifd_el_cast_row *widen, *narrow; /* between the elements and those of the kernels; or NULL */
  ifd_eltwise_step steps[];
} program;

/* The parameters of a step, some of which may be operands. */
static const float *parameters(const ifd_eltwise_step *s, const char *const *in, float *p) {
  for (int i = 0; i < IFD_EL_PARAMS; i++)
    p[i] = s->p_from[i] ? *(const float *)in[s->p_from[i] - 1] : s->p[i];
  return p;
}

static void run_step(const program *pr, const ifd_eltwise_step *s, const ifd_args *args,
                     const char *const *in, char *out, size_t n) {
  const char *a = s->a < 0 ? out : in[s->a], *b = s->b < 0 ? out : in[s->b];
  if (s->unary) {
    float p[IFD_EL_PARAMS];
    s->unary(parameters(s, in, p), a, out, n);
    return;
  }
  int a_step = s->a < 0 ? 1 : pr->step[s->a], b_step = s->b < 0 ? 1 : pr->step[s->b];
  if (s->has_zero && s->has_zero(pr->size, b, b_step ? n : 1))
    atomic_store(args->failed, 1);
  else
    s->binary(a, a_step, b, b_step, out, n);
}

static void run_program(const void *params, const ifd_args *args, const char *const *in, char *out,
                        size_t n) {
  const program *p = params;
  const char *at[IFD_LOOP_OPERANDS];
  if (p->n_steps == 1) {
    run_step(p, p->steps, args, in, out, n);
    return;
  }
  for (size_t i = 0; i < n; i += BLOCK) {
    size_t length = n - i < BLOCK ? n - i : BLOCK;
    for (int k = 0; k < p->n_operands; k++) at[k] = in[k] + (p->step[k] ? i * p->size : 0);
    for (int s = 0; s < p->n_steps; s++) run_step(p, &p->steps[s], args, at, out + i * p->out_size, length);
  }
}

/* The same through blocks of floats: one for each operand, the last for the result. */
static void run_widened(const void *params, const ifd_args *args, const char *const *in, char *out,
                        size_t n) {
  const program *p = params;
  float *blocks = args->scratch, *result = blocks + p->n_operands * BLOCK;
  const char *at[IFD_LOOP_OPERANDS];
  for (size_t i = 0; i < n; i += BLOCK) {
    size_t length = n - i < BLOCK ? n - i : BLOCK;
    for (int k = 0; k < p->n_operands; k++) {
      at[k] = (const char *)(blocks + k * BLOCK);
      p->widen(in[k] + (p->step[k] ? i * p->size : 0), blocks + k * BLOCK, p->step[k] ? length : 1);
    }
    char *to = out + i * p->out_size;
    for (int s = 0; s < p->n_steps; s++)
      run_step(p, &p->steps[s], args, at, p->narrow ? (char *)result : to, length);
    if (p->narrow) p->narrow(result, to, length);
  }
}

/* ---- making ---- */

ifd_eltwise ifd_eltwise_of(ifd_lower *x) {
  ifd_dtype t = x->in[0]->dtype;
  return (ifd_eltwise){.x = x, .dtype = t, .compute = ifd_dtype_is_half(t) ? IFD_FLOAT : t, .item_ops = 1};
}

int ifd_eltwise_input(ifd_eltwise *e, int i, const ifd_shape *view) {
  if (!e->x->in[i] || e->x->in[i]->dtype != e->dtype) {
    e->loop.declined = true;
    return 0;
  }
  return ifd_loop_input(&e->loop, e->x, i, view);
}

int ifd_eltwise_value(ifd_eltwise *e, double value) {
  uint64_t element = 0;
  ifd_tensor t = {.dtype = e->dtype, .data = &element};
  ifd_tensor_set_f64(&t, 0, value);
  return ifd_loop_value(&e->loop, &element, ifd_dtype_size(e->dtype));
}

static ifd_eltwise_step *add_step(ifd_eltwise *e, const ifd_eltwise_step *step) {
  if (e->n_steps == IFD_ELTWISE_STEPS || (!step->unary && !step->binary)) {
    e->loop.declined = true;
    return &e->steps[0];
  }
  e->steps[e->n_steps] = *step;
  return &e->steps[e->n_steps++];
}

/* The functions of vmath are tens of operations an element. */
static double ops_of(ifd_el op) {
  static const bool cheap[IFD_EL_N] = {
      [IFD_EL_Identity] = true,  [IFD_EL_Abs] = true,          [IFD_EL_Neg] = true,
      [IFD_EL_Sign] = true,      [IFD_EL_Ceil] = true,         [IFD_EL_Floor] = true,
      [IFD_EL_Round] = true,     [IFD_EL_Relu] = true,         [IFD_EL_Clip] = true,
      [IFD_EL_Sqrt] = true,      [IFD_EL_Reciprocal] = true,   [IFD_EL_LeakyRelu] = true,
      [IFD_EL_Softsign] = true,  [IFD_EL_Shrink] = true,       [IFD_EL_HardSigmoid] = true,
      [IFD_EL_HardSwish] = true, [IFD_EL_RoundFloat16] = true, [IFD_EL_RoundBFloat16] = true};
  return (op < IFD_EL_N_UNARY && !cheap[op]) || op == IFD_EL_Pow ? 8 : 1;
}

ifd_eltwise_step *ifd_eltwise_unary(ifd_eltwise *e, ifd_el op, int a, const float *p) {
  ifd_eltwise_step step = {.unary = ifd_k_eltwise(e->x->isa)->unary(op, e->compute), .a = a, .b = a};
  if (p) memcpy(step.p, p, sizeof step.p);
  e->item_ops += ops_of(op);
  /* The kernel reads as many elements as it writes. */
  if (a >= 0 && !e->loop.declined && ifd_shape_count(&e->loop.shape[a]) != ifd_tensor_count(e->x->out[0]))
    e->loop.declined = true;
  if (a >= 0 && e->loop.operands[a].input < 0 && ifd_tensor_count(e->x->out[0]) > 1) e->loop.declined = true;
  return add_step(e, &step);
}

void ifd_eltwise_binary(ifd_eltwise *e, ifd_el op, int a, int b) {
  ifd_eltwise_step step = {.binary = ifd_k_eltwise(e->x->isa)->binary(op, e->compute), .a = a, .b = b};
  e->item_ops += ops_of(op);
  add_step(e, &step);
}

void ifd_eltwise_integer(ifd_eltwise *e, ifd_integer_op op, int a, int b) {
  const struct ifd_k_eltwise_table *kernels = ifd_k_eltwise(e->x->isa);
  ifd_eltwise_step step = {.binary = kernels->integer(op, e->dtype), .a = a, .b = b};
  if (op <= IFD_INTEGER_TRUNC_MOD && !ifd_dtype_is_float(e->dtype)) step.has_zero = kernels->has_zero;
  e->item_ops += 8;
  add_step(e, &step);
}

/* The first operand that the result may overwrite: none is read after the first step, which reads it element
 * by element as it writes. */
static int in_place(const ifd_eltwise *e) {
  for (int s = 0; s < e->n_steps; s++) {
    const ifd_eltwise_step *step = &e->steps[s];
    for (int i = 0; s > 0 && i < 2; i++) {
      int k = i ? step->b : step->a;
      if (k >= 0 && e->loop.operands[k].input >= 0) return 0;
    }
    if (step->p_from[0] || step->p_from[1]) return 0;
  }
  if (ifd_dtype_size(e->x->out[0]->dtype) != ifd_dtype_size(e->dtype)) return 0;
  for (int k = 0; k < e->loop.n_operands; k++)
    if (ifd_loop_is_whole(&e->loop, e->x, k) && !e->x->constant[e->loop.operands[k].input])
      return 1 + e->loop.operands[k].input;
  return 0;
}

ifd_status ifd_eltwise_lower(ifd_eltwise *e) {
  ifd_lower *x = e->x;
  const struct ifd_k_eltwise_table *kernels = ifd_k_eltwise(x->isa);
  ifd_dtype to = x->out[0]->dtype;
  bool wide = e->compute != e->dtype;
  if (e->n_steps == 0 || (to != e->dtype && to != IFD_BOOL)) e->loop.declined = true;
  program *p;
  size_t size = sizeof *p + (size_t)e->n_steps * sizeof *p->steps;
  ALLOC(x->err, p, ifd_arena_alloc(x->arena, size));
  *p = (program){.n_operands = e->loop.n_operands,
                 .n_steps = e->n_steps,
                 .size = ifd_dtype_size(e->dtype),
                 .out_size = ifd_dtype_size(to),
                 .dtype = e->dtype,
                 .widen = wide ? kernels->cast(e->compute, e->dtype) : NULL,
                 .narrow = wide && to == e->dtype ? kernels->cast(e->dtype, e->compute) : NULL};
  memcpy(p->steps, e->steps, (size_t)e->n_steps * sizeof *p->steps);
  TRY(ifd_loop_plan(&e->loop, x));
  for (int k = 0; k < p->n_operands; k++) p->step[k] = e->loop.operands[k].step;
  size_t scratch = wide ? (size_t)(e->loop.n_operands + 1) * BLOCK * sizeof(float) : 0;
  if (!e->loop.declined) x->work->in_place = in_place(e);
  x->work->algorithm = "rows";
  return ifd_loop_launch(&e->loop, x, wide ? run_widened : run_program, p, size, e->item_ops, scratch);
}

/* ---- operators ---- */

ifd_el ifd_eltwise_find(const ifd_node *node, float p[IFD_EL_PARAMS]) {
  static const struct {
    const char *name;
    ifd_el op;
  } kernels[] = {
#define ENTRY(name) {#name, IFD_EL_##name},
      IFD_EL_UNARY_LIST(ENTRY) IFD_EL_BINARY_LIST(ENTRY) IFD_EL_TEST_LIST(ENTRY) IFD_EL_BIT_LIST(ENTRY)
          IFD_EL_COMPARE_LIST(ENTRY)
#undef ENTRY
              {"Sum", IFD_EL_Add}, /* of many */
      {"BitwiseAnd", IFD_EL_And},
      {"BitwiseOr", IFD_EL_Or},
      {"BitwiseXor", IFD_EL_Xor},
  };
  static const struct {
    const char *name, *attrs[IFD_EL_PARAMS];
  } parameters[] = {
      {"LeakyRelu", {"alpha"}},
      {"Elu", {"alpha"}},
      {"Celu", {"alpha"}},
      {"Selu", {"alpha", "gamma"}},
      {"HardSigmoid", {"alpha", "beta"}},
      {"Swish", {"alpha"}},
      {"SwiGLU", {"alpha"}},
      {"ThresholdedRelu", {"alpha"}},
      {"Shrink", {"lambd", "bias"}},
  };
  const char *name = node->op->name;
  for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
    for (int k = 0; k < IFD_EL_PARAMS && strcmp(parameters[i].name, name) == 0; k++)
      if (parameters[i].attrs[k]) p[k] = (float)ifd_attr_float(node, parameters[i].attrs[k]);
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    if (strcmp(kernels[i].name, name) == 0) return kernels[i].op;
  return IFD_EL_N;
}

static bool is_unary(ifd_el op) {
  return op < IFD_EL_N_UNARY || op == IFD_EL_IsNaN || op == IFD_EL_IsInf || op == IFD_EL_Not;
}

ifd_status ifd_lower_elementwise(ifd_lower *x) {
  float p[IFD_EL_PARAMS] = {0};
  ifd_el op = ifd_eltwise_find(x->node, p);
  ifd_eltwise e = ifd_eltwise_of(x);
  if (op == IFD_EL_N) return IFD_OK;
  int result = ifd_eltwise_input(&e, 0, NULL);
  if (is_unary(op))
    ifd_eltwise_unary(&e, op, result, p);
  else if (x->node->n_inputs == 1)
    return ifd_lower_copy(x);
  for (int i = 1; i < x->node->n_inputs; i++) {
    ifd_eltwise_binary(&e, op, result, ifd_eltwise_input(&e, i, NULL));
    result = IFD_ELTWISE_RESULT;
  }
  return ifd_eltwise_lower(&e);
}

ifd_status ifd_lower_elementwise_legacy(ifd_lower *x) {
  float p[IFD_EL_PARAMS];
  ifd_shape view;
  ifd_eltwise e = ifd_eltwise_of(x);
  TRY(ifd_legacy_broadcast(x->err, x->node, &x->in[0]->shape, &x->in[1]->shape, &view));
  int a = ifd_eltwise_input(&e, 0, NULL), b = ifd_eltwise_input(&e, 1, &view);
  ifd_eltwise_binary(&e, ifd_eltwise_find(x->node, p), a, b);
  return ifd_eltwise_lower(&e);
}

/* ---- copies ---- */

static void run_copy(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const size_t *size = params;
  (void)args;
  if (in[0] != out) memcpy(out, in[0], n * *size);
}

ifd_status ifd_lower_copy(ifd_lower *x) {
  const ifd_tensor *in = x->in[0], *out = x->out[0];
  size_t size = ifd_dtype_size(in->dtype);
  ifd_loop loop = {.n_operands = 1, .operands = {{.size = size}}, .shape = {out->shape}};
  if (in->dtype == IFD_STRING || ifd_dtype_size(out->dtype) != size ||
      ifd_tensor_count(in) != ifd_tensor_count(out))
    return IFD_OK;
  ifd_span *span;
  ALLOC(x->err, span, ifd_new(x->arena, ifd_span));
  span->bytes = size * (size_t)ifd_tensor_count(in);
  x->work->spans = span, x->work->n_spans = 1, x->work->only_spans = true;
  x->work->in_place = 1;
  x->work->algorithm = "copy";
  TRY(ifd_loop_plan(&loop, x));
  return ifd_loop_launch(&loop, x, run_copy, &size, sizeof size, 1, 0);
}
