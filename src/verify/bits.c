/* The first law, for any model: a sample's output bits follow from the sample alone. The same inputs run with
 * other numbers of threads, on other instruction sets, and, where the batch is free, each row alone. */
#include "api/api.h"

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
  const char *batch; /* symbol of the free batch, or NULL */
  infold_value **inputs, **outputs;
  FILE *to;
  int runs;
} checker;

static void destroy_all(infold_value **values, int n) {
  for (int i = 0; i < n; i++) {
    infold_destroy_value(values[i]);
    values[i] = NULL;
  }
}

static ifd_status open_session(checker *c, infold_session **out, int threads, const char *cpu) {
  infold_error e;
  infold_session_options options = {.threads = threads, .cpu = cpu, .max_memory = c->options->max_memory};
  if (infold_create_session(&e, out, c->model, &options)) FAIL(c->err, UNSUPPORTED, "%s", e.message);
  return IFD_OK;
}

/* The symbol that is the first dimension of the first input with a free one. */
static const char *batch_symbol(const ifd_model *m) {
  for (int i = 0; i < m->graph->inputs.n; i++) {
    const ifd_type *t = m->graph->inputs.v[i]->type;
    if (t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank && !ifd_dim_is_number(t->dims[0])) {
      const char *name = ifd_dim_name(m->dims, t->dims[0]);
      if (name) return name;
    }
  }
  return NULL;
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

static bool is_batched(const checker *c, const ifd_type *t) {
  const char *name = c->batch && t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank
                         ? ifd_dim_name(c->model->ir->dims, t->dims[0])
                         : NULL;
  return name && strcmp(name, c->batch) == 0;
}

/* ---- inputs ---- */

static ifd_status make_input(checker *c, int i, int64_t free_dim, infold_value **out) {
  const ifd_type *t = c->model->ir->graph->inputs.v[i]->type;
  ifd_shape shape = {0};
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  EXPECT(c->err, t->kind == IFD_KIND_TENSOR && t->dtype && t->has_rank && t->rank <= IFD_MAX_RANK,
         UNSUPPORTED, "random values cannot be made for input '%s': give --inputs",
         c->model->ir->graph->inputs.v[i]->name);
  shape.rank = t->rank;
  for (int k = 0; k < t->rank; k++) {
    const char *name = ifd_dim_is_number(t->dims[k]) ? NULL : ifd_dim_name(c->model->ir->dims, t->dims[k]);
    shape.dim[k] = ifd_dim_is_number(t->dims[k])                     ? t->dims[k]
                   : name && c->batch && strcmp(name, c->batch) == 0 ? ROWS
                                                                     : free_dim;
  }
  size_t limit = ifd_api_memory_limit(c->options->max_memory, c->model->ir);
  TRY(ifd_api_make_tensor(c->err, &d, t->dtype, &shape, "random", c->options->seed + (uint64_t)i, limit));
  return ifd_api_value(c->err, out, &d);
}

static ifd_status run(checker *c, const infold_session *s, infold_value **inputs, infold_value **outputs) {
  infold_error e;
  c->runs++;
  if (infold_run(&e, outputs, s, (const infold_value *const *)inputs, NULL))
    FAIL(c->err, BAD_INPUT, "%s", e.message);
  return IFD_OK;
}

/* Given inputs, or random ones of the first size of the other free dimensions that the model takes. */
static ifd_status first_run(checker *c, infold_session *s) {
  static const int64_t sizes[] = {64, 32, 16, 4, 1};
  infold_error e;
  if (c->options->inputs) {
    if (infold_read_inputs(&e, c->inputs, s, c->options->inputs)) FAIL(c->err, BAD_INPUT, "%s", e.message);
    return run(c, s, c->inputs, c->outputs);
  }
  ifd_status status = IFD_OK;
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    ifd_error_clear(c->err);
    destroy_all(c->inputs, c->n_in);
    status = IFD_OK;
    for (int i = 0; i < c->n_in && status == IFD_OK; i++)
      if (!infold_input_has_default(s, i)) status = make_input(c, i, sizes[k], &c->inputs[i]);
    if (status == IFD_OK) status = run(c, s, c->inputs, c->outputs);
    if (status == IFD_OK) return IFD_OK;
  }
  return status;
}

/* ---- comparing ---- */

/* Bytes of row `row` of a batched value, or of all of it. */
static const char *row_of(const infold_value *v, bool batched, int64_t row, size_t *bytes) {
  const ifd_tensor *t = &v->datum.tensor;
  *bytes = ifd_tensor_bytes(t);
  if (!batched) return t->data;
  *bytes /= (size_t)t->shape.dim[0];
  return (const char *)t->data + (size_t)row * *bytes;
}

static ifd_status same_bits(checker *c, infold_value *const *other, int64_t row, const char *how) {
  for (int i = 0; i < c->n_out; i++) {
    const ifd_value *v = c->model->ir->graph->outputs.v[i];
    const infold_value *a = c->outputs[i], *b = other[i];
    size_t n, m;
    bool plain = a->datum.kind == IFD_KIND_TENSOR && a->datum.tensor.dtype != IFD_STRING;
    if (!plain || (row >= 0 && !is_batched(c, v->type))) continue;
    const char *p = row_of(a, row >= 0, row, &n), *q = row_of(b, row >= 0, 0, &m);
    size_t k = 0;
    while (k < n && k < m && p[k] == q[k]) k++;
    EXPECT(c->err, n == m && k == n, DIFFERS, "output '%s' has other bits %s, first in element %zu", v->name,
           how, k / ifd_dtype_size(a->datum.tensor.dtype));
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
  destroy_all(outputs, c->n_out);
  infold_destroy_session(s);
  if (status == IFD_OK) fprintf(c->to, "same bits %s\n", how);
  return status;
}

static ifd_status take_row(checker *c, infold_value **out, const infold_value *v, int64_t row) {
  const ifd_tensor *t = &v->datum.tensor;
  ifd_datum d = v->datum;
  size_t bytes;
  d.tensor.buf = NULL;
  d.tensor.data = (void *)row_of(v, true, row, &bytes);
  d.tensor.shape = t->shape;
  d.tensor.shape.dim[0] = 1;
  ifd_datum own;
  TRY(ifd_datum_own(c->err, &own, &d, NULL));
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
    if (c->inputs[i] && is_batched(c, c->model->ir->graph->inputs.v[i]->type))
      status = take_row(c, &inputs[i], c->inputs[i], row);
  infold_value **mixed = status == IFD_OK ? ifd_new_array(&c->arena, infold_value *, c->n_in) : NULL;
  for (int i = 0; mixed && i < c->n_in; i++) mixed[i] = inputs[i] ? inputs[i] : c->inputs[i];
  if (mixed) status = run(c, s, mixed, outputs);
  if (status == IFD_OK) status = same_bits(c, outputs, row, how);
  destroy_all(inputs, c->n_in);
  destroy_all(outputs, c->n_out);
  return status;
}

static int64_t n_rows(const checker *c) {
  for (int i = 0; i < c->n_in; i++)
    if (c->inputs[i] && is_batched(c, c->model->ir->graph->inputs.v[i]->type))
      return c->inputs[i]->datum.tensor.shape.dim[0];
  return 0;
}

static ifd_status check(checker *c) {
  infold_session *s = NULL;
  ifd_isa best = ifd_cpu_isa();
  ALLOC(c->err, c->inputs, ifd_new_array(&c->arena, infold_value *, c->n_in));
  ALLOC(c->err, c->outputs, ifd_new_array(&c->arena, infold_value *, c->n_out));
  TRY(open_session(c, &s, 1, ifd_isa_name(best)));
  ifd_status status = first_run(c, s);
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
               .n_out = g->outputs.n,
               .batch = batch_symbol(model->ir)};
  if (out) *out = NULL;
  ifd_arena_init(&c.arena, NULL);
  c.to = open_memstream(&text, &len);
  ifd_status status = c.to ? check(&c) : ifd_error_set(&err, IFD_NO_MEMORY, __FILE__, "out of memory");
  if (c.to) fclose(c.to);
  if (c.inputs) destroy_all(c.inputs, c.n_in);
  if (c.outputs) destroy_all(c.outputs, c.n_out);
  ifd_arena_free(&c.arena);
  if (out)
    *out = text;
  else
    free(text);
  return ifd_api_report(to, &err, NULL, status);
}
