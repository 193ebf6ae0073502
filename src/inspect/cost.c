#include "inspect/cost.h"

#include "ops/op.h"
#include <math.h>
#include <string.h>

/* ---- multiply-accumulates ---- */

enum { MAX_SYMBOLS = 16, MAX_VALUES = 16, MAX_POWER = 4 };

/* The free dimensions of a node's inputs and outputs. */
typedef struct probe {
  const ifd_node *node;
  ifd_dim symbols[MAX_SYMBOLS];
  int n_symbols;
  ifd_shape in[MAX_VALUES], out[MAX_VALUES];
} probe;

static bool add_symbols(probe *p, ifd_value *const *values, int n) {
  for (int i = 0; i < n; i++) {
    const ifd_type *t = values[i] ? values[i]->type : &ifd_type_unknown;
    if (!values[i]) continue;
    if (t->kind != IFD_KIND_TENSOR || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
    for (int k = 0; k < t->rank; k++) {
      int s = 0;
      if (ifd_dim_is_number(t->dims[k])) continue;
      while (s < p->n_symbols && p->symbols[s] != t->dims[k]) s++;
      if (s == MAX_SYMBOLS) return false;
      p->symbols[s] = t->dims[k];
      if (s == p->n_symbols) p->n_symbols++;
    }
  }
  return true;
}

static int64_t number_of(const probe *p, ifd_dim d, const int64_t *numbers) {
  if (ifd_dim_is_number(d)) return d;
  for (int s = 0; s < p->n_symbols; s++)
    if (p->symbols[s] == d) return numbers[s];
  return 1;
}

static void fill_shapes(const probe *p, ifd_shape *shapes, ifd_value *const *values, int n,
                        const int64_t *numbers) {
  for (int i = 0; i < n; i++) {
    shapes[i] = (ifd_shape){0};
    if (!values[i]) continue;
    shapes[i].rank = values[i]->type->rank;
    for (int k = 0; k < shapes[i].rank; k++)
      shapes[i].dim[k] = number_of(p, values[i]->type->dims[k], numbers);
  }
}

/* The cost where symbol `which` is `number` and the others are 2. */
static double ask(probe *p, int which, int64_t number, int64_t others) {
  int64_t numbers[MAX_SYMBOLS];
  for (int s = 0; s < p->n_symbols; s++) numbers[s] = s == which ? number : others;
  fill_shapes(p, p->in, p->node->inputs, p->node->n_inputs, numbers);
  fill_shapes(p, p->out, p->node->outputs, p->node->n_outputs, numbers);
  return p->node->op->cost(p->node, p->in, p->out);
}

bool ifd_cost_node(ifd_dims *dims, const ifd_node *node, ifd_dim *out) {
  probe p = {.node = node};
  *out = 0;
  if (!node->op) return false;
  if (!node->op->cost) return true;
  if (node->n_inputs > MAX_VALUES || node->n_outputs > MAX_VALUES ||
      !add_symbols(&p, node->inputs, node->n_inputs) || !add_symbols(&p, node->outputs, node->n_outputs))
    return false;
  double base = ask(&p, -1, 0, 2), number = base, powers = 0;
  ifd_dim product = 1;
  for (int s = 0; s < p.n_symbols; s++) {
    double power = base ? log2(ask(&p, s, 4, 2) / base) : 0;
    if (power < 0 || power > MAX_POWER || power != floor(power)) return false;
    for (int k = 0; k < (int)power; k++) product = ifd_dim_mul(dims, product, p.symbols[s]);
    powers += power;
  }
  number = base / exp2(powers);
  /* A cost that is no such product shows at another place. */
  if (fabs(number * pow(3, powers) - ask(&p, -1, 0, 3)) > 1e-6 * fabs(base)) return false;
  if (number != floor(number) || number > 9e18) return false;
  *out = ifd_dim_mul(dims, product, ifd_dim_number(dims, (int64_t)number));
  return true;
}

/* ---- memory ---- */

/* False for what is no tensor of known rank and fixed element size. */
static bool bytes_of(ifd_dims *dims, const ifd_value *value, ifd_dim *out) {
  const ifd_type *t = value->type;
  if (t->kind != IFD_KIND_TENSOR || !t->dtype || t->dtype == IFD_STRING || !t->has_rank) return false;
  *out = (ifd_dim)ifd_dtype_size(t->dtype);
  for (int i = 0; i < t->rank; i++) *out = ifd_dim_mul(dims, *out, t->dims[i]);
  return true;
}

/* What lives when: by main-graph node in order, by value id. */
typedef struct liveness {
  const ifd_model *model;
  const ifd_value **values; /* made by nodes of the main graph */
  int n_values;
  int *first, *last, *root; /* by value id; root: whose memory a view shows */
  int *place;               /* by node id: its position */
} liveness;

/* The node of the main graph that a node stands in. */
static const ifd_node *outermost(const ifd_model *model, const ifd_node *node) {
  while (node && node->graph != model->graph) node = node->graph->owner;
  return node;
}

static void read_at(liveness *l, const ifd_value *v, int place) {
  int root = l->root[v->id];
  if (place > l->last[root]) l->last[root] = place;
}

static void add_value(liveness *l, const ifd_node *node, const ifd_value *v, int place) {
  const ifd_value *shown = node->op && (node->op->flags & IFD_OP_VIEW) ? ifd_node_input(node, 0) : NULL;
  bool view = shown && shown->producer && shown->graph == l->model->graph && v->output == 0;
  l->root[v->id] = view ? l->root[shown->id] : v->id;
  if (!view) {
    l->first[v->id] = l->last[v->id] = place;
    l->values[l->n_values++] = v;
  }
  read_at(l, v, v->n_outputs ? l->model->graph->n_nodes : place);
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *reader = outermost(l->model, v->uses.v[i].node);
    if (reader) read_at(l, v, l->place[reader->id]);
  }
}

static ifd_status find_lifetimes(ifd_error *err, ifd_arena *scratch, liveness *l) {
  int n = l->model->n_values + 1, k = 0;
  ALLOC(err, l->values, ifd_new_array(scratch, const ifd_value *, n));
  ALLOC(err, l->first, ifd_new_array(scratch, int, n));
  ALLOC(err, l->last, ifd_new_array(scratch, int, n));
  ALLOC(err, l->root, ifd_new_array(scratch, int, n));
  ALLOC(err, l->place, ifd_new_array(scratch, int, l->model->n_nodes + 1));
  IFD_EACH_NODE(node, l->model->graph) l->place[node->id] = k++;
  IFD_EACH_NODE(node, l->model->graph)
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) add_value(l, node, node->outputs[i], l->place[node->id]);
  return IFD_OK;
}

/* Where the sum is largest under the probe's numbers: births and deaths along the nodes. */
static ifd_status find_peak(ifd_error *err, ifd_arena *scratch, const liveness *l, const ifd_binding *probe,
                            int *peak, int *n_unknown) {
  int n = l->model->graph->n_nodes + 2;
  double *change, sum = 0, most = -1;
  ALLOC(err, change, ifd_new_array(scratch, double, n));
  for (int i = 0; i < l->n_values; i++) {
    const ifd_value *v = l->values[i];
    ifd_dim bytes;
    int64_t number;
    if (!bytes_of(l->model->dims, v, &bytes) || !ifd_dim_eval(l->model->dims, bytes, probe, &number)) {
      ++*n_unknown;
      continue;
    }
    change[l->first[v->id]] += (double)number;
    change[l->last[v->id] + 1] -= (double)number;
  }
  for (int k = 0; k < l->model->graph->n_nodes; k++) {
    sum += change[k];
    if (sum <= most) continue;
    most = sum;
    *peak = k;
  }
  return IFD_OK;
}

ifd_status ifd_cost_peak(ifd_error *err, ifd_arena *scratch, const ifd_model *model, const ifd_binding *probe,
                         ifd_peak *out) {
  liveness l = {.model = model};
  int peak = 0, k = 0;
  *out = (ifd_peak){0};
  TRY(find_lifetimes(err, scratch, &l));
  TRY(find_peak(err, scratch, &l, probe, &peak, &out->n_unknown));
  for (int i = 0; i < l.n_values; i++) {
    const ifd_value *v = l.values[i];
    ifd_dim bytes;
    int64_t number;
    if (l.first[v->id] <= peak && l.last[v->id] >= peak && bytes_of(model->dims, v, &bytes) &&
        ifd_dim_eval(model->dims, bytes, probe, &number))
      out->bytes = ifd_dim_add(model->dims, out->bytes, bytes);
  }
  IFD_EACH_NODE(node, model->graph)
  if (k++ == peak) out->node = node;
  return IFD_OK;
}
