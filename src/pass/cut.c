#include "pass/cut.h"

#include <limits.h>
#include <string.h>

ifd_status ifd_cut_init(ifd_cut *cut, ifd_error *err, ifd_arena *arena) {
  int ignored;
  *cut = (ifd_cut){.err = err, .arena = arena};
  TRY(ifd_cut_add_vertex(cut, &ignored));
  return ifd_cut_add_vertex(cut, &ignored);
}

ifd_status ifd_cut_add_vertex(ifd_cut *cut, int *out) {
  *out = cut->first.n;
  IFD_PUSH(cut->err, cut->arena, &cut->first, -1);
  return IFD_OK;
}

static ifd_status push_edge(ifd_cut *cut, int from, int to, int price) {
  ifd_cut_edge e = {to, cut->first.v[from], price};
  cut->first.v[from] = cut->edges.n;
  IFD_PUSH(cut->err, cut->arena, &cut->edges, e);
  return IFD_OK;
}

ifd_status ifd_cut_add_edge(ifd_cut *cut, int from, int to, int price) {
  if (from == to || from == IFD_CUT_ZERO || to == IFD_CUT_ONE) return IFD_OK; /* never paid */
  TRY(push_edge(cut, from, to, price));
  return push_edge(cut, to, from, 0);
}

typedef struct search {
  const ifd_cut *cut;
  int *level; /* edges from side one on, -1: out of reach */
  int *at;    /* the next edge to try at each vertex */
  int *queue; /* vertices met */
  int *path;  /* edges of the path at hand */
} search;

/* How far each vertex is along edges with something left; false when side zero is out of reach. */
static bool measure(search *s) {
  const ifd_cut *cut = s->cut;
  int head = 0, tail = 0;
  for (int v = 0; v < cut->first.n; v++) s->level[v] = -1;
  s->level[IFD_CUT_ONE] = 0;
  s->queue[tail++] = IFD_CUT_ONE;
  while (head < tail) {
    int v = s->queue[head++];
    for (int e = cut->first.v[v]; e >= 0; e = cut->edges.v[e].next) {
      const ifd_cut_edge *edge = &cut->edges.v[e];
      if (!edge->left || s->level[edge->to] >= 0) continue;
      s->level[edge->to] = s->level[v] + 1;
      s->queue[tail++] = edge->to;
    }
  }
  return s->level[IFD_CUT_ZERO] >= 0;
}

/* The flow along the path found, taken off its edges. */
static int take(const ifd_cut *cut, const int *path, int n) {
  int least = INT_MAX;
  for (int i = 0; i < n; i++)
    if (cut->edges.v[path[i]].left < least) least = cut->edges.v[path[i]].left;
  for (int i = 0; i < n; i++) {
    cut->edges.v[path[i]].left -= least;
    cut->edges.v[path[i] ^ 1].left += least;
  }
  return least;
}

/* One more path that leads a level on with each edge; 0 when there is none. */
static int augment(search *s) {
  const ifd_cut *cut = s->cut;
  int n = 0;
  for (int v = IFD_CUT_ONE; v != IFD_CUT_ZERO;) {
    int e = s->at[v];
    while (e >= 0 && !(cut->edges.v[e].left && s->level[cut->edges.v[e].to] == s->level[v] + 1))
      e = cut->edges.v[e].next;
    s->at[v] = e;
    if (e >= 0) {
      s->path[n++] = e;
      v = cut->edges.v[e].to;
    } else if (n) { /* a dead end: back, and past the edge that led here */
      int back = s->path[--n];
      v = cut->edges.v[back ^ 1].to;
      s->at[v] = cut->edges.v[back].next;
    } else
      return 0;
  }
  return take(cut, s->path, n);
}

ifd_status ifd_cut_solve(ifd_cut *cut, long *price, const bool **is_one) {
  int n = cut->first.n, *memory;
  bool *one;
  ALLOC(cut->err, memory, ifd_new_array(cut->arena, int, 4 * (int64_t)n));
  ALLOC(cut->err, one, ifd_new_array(cut->arena, bool, n));
  search s = {cut, memory, memory + n, memory + 2 * n, memory + 3 * n};
  *price = 0;
  while (measure(&s)) {
    memcpy(s.at, cut->first.v, (size_t)n * sizeof *s.at);
    for (int flow; (flow = augment(&s)) != 0;) *price += flow;
  }
  for (int v = 0; v < n; v++) one[v] = s.level[v] >= 0;
  *is_one = one;
  return IFD_OK;
}
