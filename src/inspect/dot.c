#include "inspect/view.h"

/* A quoted string of the DOT language. */
static void put_quoted(FILE *to, const char *text) {
  fputc('"', to);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, to);
  }
  fputc('"', to);
}

/* The escapes of a label: name in one line, what it is in the next. */
static void put_label(FILE *to, const char *first, const char *second) {
  fputs("label=\"", to);
  for (const char *lines[] = {first, second}, **line = lines; line < lines + 2; line++) {
    if (line != lines && **line) fputs("\\n", to);
    for (const char *s = *line; *s; s++) {
      if (*s == '"' || *s == '\\') fputc('\\', to);
      fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, to);
    }
  }
  fputc('"', to);
}

static void put_endpoint(const ifd_survey *s, FILE *to, const char *kind, const ifd_value *v, int i) {
  char type[256];
  fprintf(to, "  %s%d [shape=ellipse, ", kind, i);
  put_label(to, v->name, ifd_type_text(s->model->dims, v->type, type, sizeof type));
  fputs("];\n", to);
}

static void put_edge(const ifd_survey *s, FILE *to, const ifd_value *v, const char *target, int id) {
  char type[256];
  if (!v || (v->producer && ifd_node_is(v->producer, "Constant"))) return;
  if (v->producer)
    fprintf(to, "  n%d -> %s%d [", v->producer->id, target, id);
  else if (v->is_input && v->graph == s->model->graph && !ifd_value_constant(v)) {
    int i = 0;
    while (s->model->graph->inputs.v[i] != v) i++;
    fprintf(to, "  in%d -> %s%d [", i, target, id);
  } else
    return;
  put_label(to, ifd_type_text(s->model->dims, v->type, type, sizeof type), "");
  fputs("];\n", to);
}

static void put_graph(FILE *to, const ifd_graph *g, int indent);

static void put_node(FILE *to, const ifd_node *n, int indent) {
  if (ifd_node_is(n, "Constant")) return;
  fprintf(to, "%*sn%d [", indent, "", n->id);
  put_label(to, n->op_type, n->name);
  fputs("];\n", to);
  for (int i = 0; i < n->n_attrs; i++) {
    ifd_graph *const *graphs;
    for (int k = 0, n_graphs = ifd_attr_graphs(&n->attrs[i], &graphs); k < n_graphs; k++) {
      fprintf(to, "%*ssubgraph cluster_%d_%d_%d {\n%*s  label=", indent, "", n->id, i, k, indent, "");
      put_quoted(to, n->attrs[i].name);
      fputs(";\n", to);
      put_graph(to, graphs[k], indent + 2);
      fprintf(to, "%*s}\n", indent, "");
    }
  }
}

static void put_graph(FILE *to, const ifd_graph *g, int indent) {
  IFD_EACH_NODE(n, g) put_node(to, n, indent);
}

ifd_status ifd_survey_dot(const ifd_survey *s, FILE *to, int width) {
  const ifd_graph *g = s->model->graph;
  (void)width;
  fputs("digraph ", to);
  put_quoted(to, g->name ? g->name : "");
  fputs(" {\n  node [shape=box, fontsize=10];\n  edge [fontsize=8];\n", to);
  for (int i = 0; i < g->inputs.n; i++)
    if (!ifd_value_constant(g->inputs.v[i])) put_endpoint(s, to, "in", g->inputs.v[i], i);
  put_graph(to, g, 2);
  for (int i = 0; i < s->nodes.n; i++) {
    const ifd_node *n = s->nodes.v[i].node;
    const ifd_graph *at = n->graph;
    while (at->outer) at = at->outer;
    for (int k = 0; at == g && k < n->n_inputs; k++) put_edge(s, to, n->inputs[k], "n", n->id);
  }
  for (int i = 0; i < g->outputs.n; i++) {
    put_endpoint(s, to, "out", g->outputs.v[i], i);
    put_edge(s, to, g->outputs.v[i], "out", i);
  }
  fputs("}\n", to);
  return IFD_OK;
}
