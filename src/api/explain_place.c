/* Why a node stays where no pass refused it: in words of what stands before and behind it. */
#include "api/explain.h"

#include "inspect/survey.h"
#include "inspect/table.h"
#include <string.h>

static void put_name(FILE *to, const char *name) {
  fputc('\'', to);
  ifd_put_clean(to, name);
  fputc('\'', to);
}

static void put_type(FILE *to, const ifd_value *v) {
  char text[256];
  fputs(ifd_type_text(v->graph->model->dims, v->type, text, sizeof text), to);
}

static void put_node(FILE *to, const ifd_node *node) {
  fprintf(to, "%s ", node->op_type);
  put_name(to, ifd_survey_node_name(node));
}

static void put_maker(FILE *to, const ifd_value *v) {
  if (v->producer)
    put_node(to, v->producer);
  else {
    fputs(v->constant ? "initializer " : "input ", to);
    put_name(to, v->name);
  }
}

static void put_readers(FILE *to, const ifd_value *v) {
  int n = v->uses.n;
  if (n) put_node(to, v->uses.v[0].node);
  if (n > 1) fprintf(to, " and %d more", n - 1);
  if (v->n_outputs) fputs(n ? ", and it is an output of the graph" : "an output of the graph", to);
  if (!n && !v->n_outputs) fputs("nothing", to);
}

static void put_surroundings(FILE *to, const ifd_node *node, const ifd_value *x) {
  fputs("before it is ", to);
  put_maker(to, x);
  fputs(", behind it ", to);
  put_readers(to, node->outputs[0]);
}

static void place_arithmetic(FILE *to, const ifd_node *node) {
  const ifd_value *a = node->inputs[0], *b = node->inputs[1];
  bool a_constant = ifd_value_constant(a), b_constant = ifd_value_constant(b);
  if (a_constant == b_constant) {
    fputs("both of its operands are computed, by ", to);
    put_maker(to, a);
    fputs(" and ", to);
    put_maker(to, b);
    fputs("; only a constant one could go into a neighbour", to);
    return;
  }
  const ifd_value *x = a_constant ? b : a, *c = a_constant ? a : b;
  fputs("no neighbour takes over its constant ", to);
  put_name(to, c->name);
  fputs(", ", to);
  put_type(to, c);
  fputs(": ", to);
  put_surroundings(to, node, x);
}

static void place_reshape(FILE *to, const ifd_node *node) {
  const ifd_value *shape = node->n_inputs > 1 ? node->inputs[1] : NULL;
  if (shape && !ifd_value_constant(shape)) {
    fputs("its shape is computed when the model runs, by ", to);
    put_maker(to, shape);
    fputs("; ", to);
  }
  fputs("it makes ", to);
  put_type(to, node->outputs[0]);
  fputs(" of ", to);
  put_type(to, node->inputs[0]);
  fputs(", and ", to);
  put_surroundings(to, node, node->inputs[0]);
}

static void place_transpose(FILE *to, const ifd_node *node) {
  const int64_t *perm;
  int n = ifd_node_ints(node, "perm", &perm);
  fputs("no neighbour takes over its order of axes", to);
  for (int i = 0; i < n; i++)
    fprintf(to, "%s%lld%s", i ? "," : " [", (long long)perm[i], i + 1 < n ? "" : "]");
  fputs(": ", to);
  put_surroundings(to, node, node->inputs[0]);
}

static void place_any(FILE *to, const ifd_node *node) {
  const ifd_value *x = node->n_inputs ? node->inputs[0] : NULL;
  fputs("no pass has a rule that fits", to);
  if (!x || !ifd_node_has_output(node, 0)) return;
  fputs(": ", to);
  put_surroundings(to, node, x);
}

void ifd_explain_place(FILE *to, const ifd_node *node) {
  static const struct {
    const char *op_type;
    int n_inputs; /* that it must have */
    void (*put)(FILE *to, const ifd_node *node);
  } places[] = {{"Mul", 2, place_arithmetic},  {"Add", 2, place_arithmetic},
                {"Sub", 2, place_arithmetic},  {"Div", 2, place_arithmetic},
                {"Reshape", 1, place_reshape}, {"Transpose", 1, place_transpose}};
  size_t i = 0, n = sizeof places / sizeof *places;
  while (i < n && !ifd_node_is(node, places[i].op_type)) i++;
  bool whole = i < n && ifd_node_has_output(node, 0);
  for (int k = 0; whole && k < places[i].n_inputs; k++) whole = ifd_node_has_input(node, k);
  (whole ? places[i].put : place_any)(to, node);
  fputc('\n', to);
}
