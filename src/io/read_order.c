#include <string.h>

#include "io/read.h"

/* Each node of a graph with the nodes that make what it reads, itself or in its subgraphs. */
typedef struct makers {
  ifd_error *err;
  ifd_arena *arena;
  Onnx__NodeProto **nodes;
  ifd_map by_output; /* name → index + 1 */
  IFD_VEC(int) read; /* by all nodes, one after the other */
  int *first;        /* of each node, in read; one more ends the last */
} makers;

static ifd_status add_read(makers *m, int reader, const char *name) {
  int maker = (int)(intptr_t)ifd_map_find(&m->by_output, name) - 1;
  if (maker >= 0 && maker != reader) IFD_PUSH(m->err, m->arena, &m->read, maker);
  return IFD_OK;
}

static ifd_status add_reads_of(makers *m, int reader, const Onnx__NodeProto *node);

/* Names that a subgraph makes itself may be among them: it is no harm when others of these come earlier. */
static ifd_status add_reads_in(makers *m, int reader, const Onnx__GraphProto *graph) {
  for (size_t i = 0; graph && i < graph->n_node; i++) TRY(add_reads_of(m, reader, graph->node[i]));
  for (size_t i = 0; graph && i < graph->n_output; i++)
    TRY(add_read(m, reader, ifd_text(graph->output[i]->name)));
  return IFD_OK;
}

static ifd_status add_reads_of(makers *m, int reader, const Onnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_input; i++) TRY(add_read(m, reader, node->input[i]));
  for (size_t i = 0; i < node->n_attribute; i++) {
    const Onnx__AttributeProto *attr = node->attribute[i];
    TRY(add_reads_in(m, reader, attr->g));
    for (size_t k = 0; k < attr->n_graphs; k++) TRY(add_reads_in(m, reader, attr->graphs[k]));
  }
  return IFD_OK;
}

static ifd_status find_makers(makers *m, int n) {
  ifd_map_init(&m->by_output, m->arena);
  for (int i = 0; i < n; i++)
    for (size_t k = 0; k < m->nodes[i]->n_output; k++)
      if (*m->nodes[i]->output[k])
        EXPECT(m->err, ifd_map_set(&m->by_output, m->nodes[i]->output[k], (void *)(intptr_t)(i + 1)),
               NO_MEMORY, "out of memory");
  ALLOC(m->err, m->first, ifd_new_array(m->arena, int, n + 1));
  for (int i = 0; i < n; i++) {
    TRY(add_reads_of(m, i, m->nodes[i]));
    m->first[i + 1] = m->read.n;
  }
  return IFD_OK;
}

/* Each node after those it reads, else as they stand: a walk from node to maker with a stack of its own,
 * since files decide how deep it goes. *done is false when there is a cycle. */
static ifd_status sort(makers *m, Onnx__NodeProto **sorted, int n, bool *done) {
  enum { UNSEEN, OPEN, DONE };
  int *stack, *next, n_sorted = 0, depth = 0;
  char *state;
  ALLOC(m->err, stack, ifd_new_array(m->arena, int, n));
  ALLOC(m->err, next, ifd_arena_memdup(m->arena, m->first, (size_t)n * sizeof *next));
  ALLOC(m->err, state, ifd_new_array(m->arena, char, n));
  for (int i = 0; i < n; i++) {
    if (state[i] == UNSEEN) stack[depth++] = i;
    while (depth) {
      int node = stack[depth - 1];
      state[node] = OPEN;
      while (next[node] < m->first[node + 1] && state[m->read.v[next[node]]] == DONE) next[node]++;
      if (next[node] < m->first[node + 1]) {
        int maker = m->read.v[next[node]];
        if (state[maker] == OPEN) return IFD_OK;
        stack[depth++] = maker;
      } else {
        state[node] = DONE;
        sorted[n_sorted++] = m->nodes[node];
        depth--;
      }
    }
  }
  *done = true;
  return IFD_OK;
}

ifd_status ifd_read_order(ifd_reader *r, Onnx__NodeProto ***nodes, size_t n_nodes) {
  makers m = {.err = r->err, .nodes = *nodes};
  Onnx__NodeProto **sorted;
  ifd_arena scratch;
  int n;
  bool done = false;
  TRY(ifd_read_count(r->err, &n, n_nodes, "nodes"));
  ALLOC(r->err, sorted, ifd_new_array(r->arena, Onnx__NodeProto *, n_nodes));
  ifd_arena_init(&scratch, r->arena->budget);
  m.arena = &scratch;
  ifd_status status = find_makers(&m, n);
  if (status == IFD_OK) status = sort(&m, sorted, n, &done);
  ifd_arena_free(&scratch);
  if (done) *nodes = sorted;
  return status;
}
