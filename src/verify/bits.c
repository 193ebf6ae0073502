/* The first law, for any model: a sample's output bits follow from the sample alone. The same inputs run with
 * other numbers of threads, on other instruction sets, and, where the batch is free, each row alone. */
#include "verify/verify.h"

#include "base/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4 };

typedef struct checker {
  ifd_error *err;
  const infold_model *model;
  const infold_verify_options *options;
  ifd_arena arena;
  int n_in, n_out;
  const ifd_dim *batch; /* that rows are counted by, or NULL */
  infold_value **inputs, **outputs;
  FILE *to;
  int runs;
} checker;

static ifd_status open_session(checker *c, infold_session **out, int threads, const char *cpu) {
  infold_error e;
  infold_session_options options = {.threads = threads, .cpu = cpu, .max_memory = c->options->max_memory};
  if (infold_create_session(&e, out, c->model, &options)) FAIL(c->err, UNSUPPORTED, "%s", e.message);
  return IFD_OK;
}

static ifd_status find_mixing(ifd_graph *graph, void *mixes) {
  IFD_EACH_NODE(node, graph) * (bool *)mixes |= ifd_op_mixes_batch(node);
  return IFD_OK;
}

/* Whether an operator mixes the rows of a batch by definition: its rows alone are something else. */
static bool mixes_batch(const ifd_model *m) {
  bool mixes = false;
  return ifd_graph_visit(m->graph, find_mixing, &mixes) != IFD_OK || mixes;
}

/* ---- inputs ---- */

/* The first dimension of the first input that has a free one with a name. */
static const ifd_dim *find_batch(const ifd_model *m) {
  for (int i = 0; i < m->graph->inputs.n; i++) {
    const ifd_type *t = m->graph->inputs.v[i]->type;
    bool shaped = t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank;
    if (shaped && !ifd_dim_is_number(t->dims[0]) && ifd_dim_name(m->dims, t->dims[0])) return t->dims;
  }
  return NULL;
}

/* Where a value of this type has the batch, or -1. */
static int batch_axis(const checker *c, const ifd_type *t) {
  int rank = c->batch && t->kind == IFD_KIND_TENSOR && t->has_rank ? t->rank : 0;
  for (int k = 0; k < rank; k++)
    if (t->dims[k] == *c->batch) return k;
  return -1;
}

static int axis_of_input(const checker *c, int i) {
  return c->inputs[i] ? batch_axis(c, c->model->ir->graph->inputs.v[i]->type) : -1;
}

/* Given inputs, or made ones that the model runs on as it stands: of ROWS rows, if it takes so many. */
static ifd_status find_inputs(checker *c) {
  static const int64_t batches[] = {ROWS, 1};
  infold_verify_options options = *c->options;
  ifd_verifier v;
  options.batches = batches;
  options.n_batches = 2;
  ifd_status status = ifd_verifier_begin(&v, c->err, c->model, c->model, &options);
  if (status == IFD_OK) status = ifd_verifier_try_all(&v);
  for (int i = 0; i < c->n_in && status == IFD_OK; i++) {
    c->inputs[i] = v.trials.v[0].inputs[i];
    v.trials.v[0].inputs[i] = NULL;
  }
  ifd_verifier_end(&v);
  return status;
}

static ifd_status run(checker *c, const infold_session *s, infold_value **inputs, infold_value **outputs) {
  infold_error e;
  c->runs++;
  if (infold_run(&e, outputs, s, (const infold_value *const *)inputs, NULL))
    FAIL(c->err, BAD_INPUT, "%s", e.message);
  return IFD_OK;
}

/* ---- comparing ---- */

/* Row `row` along `axis`: `n` pieces of `bytes`, one each `step`. Axis -1: all of it, one piece. */
typedef struct pieces {
  const char *first;
  size_t n, bytes, step;
} pieces;

static pieces take_pieces(const ifd_tensor *t, int axis, int64_t row) {
  pieces p = {t->data, 1, ifd_tensor_bytes(t), ifd_tensor_bytes(t)};
  if (axis < 0 || !p.bytes) return p;
  for (int k = 0; k < axis; k++) p.n *= (size_t)t->shape.dim[k];
  p.step = p.bytes / p.n;
  p.bytes = p.step / (size_t)t->shape.dim[axis];
  p.first += (size_t)row * p.bytes;
  return p;
}

/* The first byte in which they differ, counted without the steps; all bytes when there is none. */
static size_t first_difference(const pieces *p, const pieces *q) {
  for (size_t i = 0; i < p->n; i++)
    for (size_t k = 0; k < p->bytes; k++)
      if (p->first[i * p->step + k] != q->first[i * q->step + k]) return i * p->bytes + k;
  return p->n * p->bytes;
}

static ifd_status same_bits(checker *c, infold_value *const *other, int64_t row, const char *how) {
  for (int i = 0; i < c->n_out; i++) {
    const ifd_value *v = c->model->ir->graph->outputs.v[i];
    const infold_value *a = c->outputs[i], *b = other[i];
    int axis = row >= 0 ? batch_axis(c, v->type) : -1;
    bool plain = a->datum.kind == IFD_KIND_TENSOR && a->datum.tensor.dtype != IFD_STRING;
    if (!plain || (row >= 0 && axis < 0)) continue;
    pieces p = take_pieces(&a->datum.tensor, axis, row), q = take_pieces(&b->datum.tensor, axis, 0);
    EXPECT(c->err, p.n == q.n && p.bytes == q.bytes, DIFFERS, "output '%s' has another size %s", v->name,
           how);
    size_t k = first_difference(&p, &q);
    EXPECT(c->err, k == p.n * p.bytes, DIFFERS, "output '%s' has other bits %s, first in element %zu",
           v->name, how, k / ifd_dtype_size(a->datum.tensor.dtype));
  }
  return IFD_OK;
}

static ifd_status check_session(checker *c, int threads, const char *cpu) {
  infold_session *s = NULL;
  char how[64];
  infold_value **outputs;
  snprintf(how, sizeof how, "with %d thread%s on %s", threads, threads > 1 ? "s" : "", cpu);
  ALLOC(c->err, outputs, ifd_new_array(&c->arena, infold_value *, c->n_out));
  TRY(open_session(c, &s, threads, cpu));
  ifd_status status = run(c, s, c->inputs, outputs);
  if (status == IFD_OK) status = same_bits(c, outputs, -1, how);
  ifd_api_drop_values(outputs, c->n_out);
  infold_destroy_session(s);
  if (status == IFD_OK) fprintf(c->to, "same bits %s\n", how);
  return status;
}

static ifd_status take_row(checker *c, infold_value **out, const infold_value *v, int axis, int64_t row) {
  ifd_datum part = v->datum, own;
  pieces p = take_pieces(&v->datum.tensor, axis, row);
  char *data;
  ALLOC(c->err, data, ifd_new_array(&c->arena, char, p.n *p.bytes));
  for (size_t i = 0; i < p.n; i++) memcpy(data + i * p.bytes, p.first + i * p.step, p.bytes);
  part.tensor.buf = NULL;
  part.tensor.data = data;
  part.tensor.shape.dim[axis] = 1;
  TRY(ifd_datum_own(c->err, &own, &part, NULL));
  return ifd_api_value(c->err, out, &own);
}

static ifd_status check_row(checker *c, infold_session *s, int64_t row) {
  infold_value **inputs, **outputs;
  char how[64];
  ifd_status status = IFD_OK;
  snprintf(how, sizeof how, "when row %lld runs alone", (long long)row);
  ALLOC(c->err, inputs, ifd_new_array(&c->arena, infold_value *, c->n_in));
  ALLOC(c->err, outputs, ifd_new_array(&c->arena, infold_value *, c->n_out));
  for (int i = 0; i < c->n_in && status == IFD_OK; i++)
    if (axis_of_input(c, i) >= 0) status = take_row(c, &inputs[i], c->inputs[i], axis_of_input(c, i), row);
  infold_value **mixed = status == IFD_OK ? ifd_new_array(&c->arena, infold_value *, c->n_in) : NULL;
  for (int i = 0; mixed && i < c->n_in; i++) mixed[i] = inputs[i] ? inputs[i] : c->inputs[i];
  if (mixed) status = run(c, s, mixed, outputs);
  if (status == IFD_OK) status = same_bits(c, outputs, row, how);
  ifd_api_drop_values(inputs, c->n_in);
  ifd_api_drop_values(outputs, c->n_out);
  return status;
}

static int64_t n_rows(const checker *c) {
  for (int i = 0; i < c->n_in; i++) {
    int axis = axis_of_input(c, i);
    if (axis >= 0) return c->inputs[i]->datum.tensor.shape.dim[axis];
  }
  return 0;
}

static ifd_status check(checker *c) {
  infold_session *s = NULL;
  ifd_isa best = ifd_cpu_isa();
  ALLOC(c->err, c->inputs, ifd_new_array(&c->arena, infold_value *, c->n_in));
  ALLOC(c->err, c->outputs, ifd_new_array(&c->arena, infold_value *, c->n_out));
  c->batch = find_batch(c->model->ir);
  TRY(find_inputs(c));
  TRY(open_session(c, &s, 1, ifd_isa_name(best)));
  ifd_status status = run(c, s, c->inputs, c->outputs);
  int64_t rows = status == IFD_OK ? n_rows(c) : 0;
  if (rows > 1 && mixes_batch(c->model->ir)) {
    fputs("not compared: rows alone, as an operator of the model mixes the rows of a batch\n", c->to);
    rows = 0;
  }
  for (int64_t r = 0; r < rows && rows > 1 && r < ROWS && status == IFD_OK; r++) status = check_row(c, s, r);
  if (status == IFD_OK && rows > 1)
    fprintf(c->to, "same bits when rows of a batch of %lld run alone\n", (long long)rows);
  infold_destroy_session(s);
  for (int threads = 2; threads <= 4 && status == IFD_OK; threads++)
    status = check_session(c, threads, ifd_isa_name(best));
  for (int isa = IFD_ISA_AVX2; isa < (int)best && status == IFD_OK; isa++)
    status = check_session(c, 1, ifd_isa_name((ifd_isa)isa));
  return status;
}

infold_status infold_verify_bits(infold_error *to, char **out, const infold_model *model,
                                 const infold_verify_options *options) {
  IFD_API_COMPUTES;
  static const infold_verify_options usual = {0};
  ifd_error err = {0};
  size_t len;
  char *text = NULL;
  const ifd_graph *g = model->ir->graph;
  checker c = {.err = &err,
               .model = model,
               .options = options ? options : &usual,
               .n_in = g->inputs.n,
               .n_out = g->outputs.n};
  if (out) *out = NULL;
  ifd_arena_init(&c.arena, NULL);
  c.to = open_memstream(&text, &len);
  ifd_status status = c.to ? check(&c) : ifd_error_set(&err, IFD_NO_MEMORY, "out of memory");
  if (c.to) fclose(c.to);
  if (c.inputs) ifd_api_drop_values(c.inputs, c.n_in);
  if (c.outputs) ifd_api_drop_values(c.outputs, c.n_out);
  ifd_arena_free(&c.arena);
  if (out)
    *out = text;
  else
    free(text);
  return ifd_api_report(to, &err, NULL, status);
}
