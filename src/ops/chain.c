/* infold.Chain (shared/chain.h): what plans make of elementwise operators that follow one another. */
#include "kernels/kernels.h"
#include "ops/shared/chain.h"
#include "ops/shared/eltwise_work.h"

static ifd_status infer_chain(ifd_infer *x) {
  return ifd_infer_broadcast(x, 0, IFD_FLOAT, 0, x->node->n_inputs - 1);
}

/* Only what is empty is left to an evaluation: everything else is lowered. */
static ifd_status eval_chain(ifd_eval *x) {
  ifd_shape shape = ifd_eval_in(x, 0)->shape;
  ifd_tensor *out;
  for (int i = 1; i < x->n_in; i++)
    TRY(ifd_shape_broadcast(x->err, &shape, &shape, &ifd_eval_in(x, i)->shape));
  EXPECT(x->err, ifd_shape_count(&shape) == 0, UNSUPPORTED, "a chain runs on kernels alone");
  return ifd_eval_out(x, &out, 0, IFD_FLOAT, &shape);
}

typedef struct chain_params {
  const struct ifd_k_eltwise_table *kernels;
  int n_in, n_steps;
  int in_step[IFD_CHAIN_INPUTS];
  ifd_el_step steps[IFD_CHAIN_STEPS];
} chain_params;

static void run_chain(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const chain_params *p = params;
  (void)args;
  p->kernels->chain(p->steps, p->n_steps, (const float *const *)in, p->in_step, p->n_in,
                    (float *const[]){(float *)out}, 1, n);
}

/* The steps with their results in registers: a register is free again once its result is read. */
static bool place_steps(chain_params *p, const int64_t *steps, const float *parameters) {
  enum { N_REGISTERS = IFD_EL_OUT - IFD_EL_REGISTER };
  uint8_t place[IFD_CHAIN_STEPS];
  bool used[N_REGISTERS] = {false};
  for (int k = 0; k < p->n_steps; k++) {
    ifd_el_step *s = &p->steps[k];
    *s = (ifd_el_step){.op = (uint8_t)steps[3 * k], .p = {parameters[2 * k], parameters[2 * k + 1]}};
    for (int i = 0; i < 2; i++) {
      int64_t from = steps[3 * k + 1 + i];
      s->from[i] = (uint8_t)(from < IFD_CHAIN_RESULT ? IFD_EL_IN + from : place[from - IFD_CHAIN_RESULT]);
      if (from >= IFD_CHAIN_RESULT) used[s->from[i] - IFD_EL_REGISTER] = false;
    }
    int r = 0;
    while (r < N_REGISTERS && used[r]) r++;
    if (r == N_REGISTERS) return false;
    s->to = place[k] = (uint8_t)(k == p->n_steps - 1 ? IFD_EL_OUT : IFD_EL_REGISTER + r);
    used[r] = true;
  }
  return true;
}

static ifd_status lower_chain(ifd_lower *x) {
  const int64_t *steps;
  const float *parameters;
  chain_params p = {.kernels = ifd_k_eltwise(x->isa), .n_in = x->node->n_inputs};
  ifd_loop loop = {0};
  p.n_steps = ifd_node_ints(x->node, "steps", &steps) / 3;
  ifd_node_floats(x->node, "parameters", &parameters);
  EXPECT(x->err, place_steps(&p, steps, parameters), LIMIT, "the chain holds too many values");
  for (int i = 0; i < p.n_in; i++) ifd_loop_input(&loop, x, i, NULL);
  for (int i = 0; i < p.n_in && !x->work->in_place; i++)
    if (ifd_loop_is_whole(&loop, x, i) && !x->constant[i]) x->work->in_place = 1 + i;
  TRY(ifd_loop_plan(&loop, x));
  for (int i = 0; i < p.n_in; i++) p.in_step[i] = loop.operands[i].step;
  x->work->algorithm = "chain";
  return ifd_loop_launch(&loop, x, run_chain, &p, sizeof p, 4 * p.n_steps, 0);
}

static const char *batch_chain(const ifd_batch *b) { return (void)b, "b"; }

const ifd_op ifd_ops_chain[] = {{.name = "Chain",
                                 .domain = "infold",
                                 .infer = infer_chain,
                                 .eval = eval_chain,
                                 .lower = lower_chain,
                                 .batch = batch_chain},
                                {0}};
