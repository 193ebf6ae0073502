#include "pass/pass.h"

/* A branch of an If whose outputs no node behind can take (a recurrent layer given five dimensions) can never
 * be run to the model's end: the other one is what the If does. So go the guards that exporters write for
 * every rank an input might have. */

enum { MOST_NODES = 256, MAX_DEPTH = 16 }; /* looked at behind an If; nesting */

typedef struct walk {
  ifd_rewrite *rw;
  int left, depth;
  bool possible;
} walk;

/* Ranks that the specification demands and that inference takes as they come. */
static bool has_wrong_rank(ifd_rewrite *rw, const ifd_node *node) {
  static const char *const layers[] = {"LSTM", "GRU", "RNN"};
  for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
    if (!ifd_node_is(node, layers[i])) continue;
    int rank = ifd_rw_rank(rw, node->inputs[0]);
    return rank >= 0 && rank != 3;
  }
  return false;
}

static ifd_status check_nodes(walk *w, const ifd_node *first);

/* Whether a graph can run as things stand; facts of its values are brought up to date. */
static ifd_status check_branch(walk *w, const ifd_graph *branch, bool *possible) {
  bool before = w->possible;
  w->possible = true;
  w->depth++;
  if (branch && w->depth < MAX_DEPTH) TRY(check_nodes(w, branch->first));
  w->depth--;
  *possible = w->possible;
  w->possible = before;
  return IFD_OK;
}

static ifd_status take_facts(walk *w, const ifd_node *node, const ifd_graph *branch) {
  ifd_inference *inf = ifd_rw_inference(w->rw);
  for (int i = 0; i < node->n_outputs && i < branch->outputs.n; i++) {
    ifd_facts *to;
    if (!node->outputs[i]) continue;
    ALLOC(inf->err, to, ifd_inference_get(inf, node->outputs[i]));
    *to = *ifd_rw_facts(w->rw, branch->outputs.v[i]);
  }
  return IFD_OK;
}

static int known_condition(walk *w, const ifd_node *node) {
  const ifd_elements *e = ifd_rw_facts(w->rw, node->inputs[0])->elements;
  return e && e->n == 1 && ifd_dim_is_number(e->d[0]) ? e->d[0] != 0 : -1;
}

static ifd_status check_if(walk *w, const ifd_node *node, bool *settled) {
  const ifd_graph *branches[2] = {ifd_node_graph(node, "else_branch"), ifd_node_graph(node, "then_branch")};
  int known = known_condition(w, node);
  bool possible[2];
  for (int i = 0; i < 2; i++) {
    TRY(check_branch(w, branches[i], &possible[i]));
    possible[i] &= known < 0 || known == i;
  }
  w->possible = possible[0] || possible[1];
  *settled = possible[0] != possible[1];
  return *settled && branches[possible[1]] ? take_facts(w, node, branches[possible[1]]) : IFD_OK;
}

/* An error of the model as it would be; others are real. */
static bool is_of_the_model(ifd_status status) { return status == IFD_BAD_MODEL || status == IFD_BAD_INPUT; }

static ifd_status check_nodes(walk *w, const ifd_node *first) {
  ifd_inference *inf = ifd_rw_inference(w->rw);
  for (const ifd_node *node = first; node && w->possible && w->left > 0; node = node->next) {
    bool settled = false;
    w->left--;
    if (ifd_node_is(node, "If")) TRY(check_if(w, node, &settled));
    if (settled || !w->possible) continue;
    ifd_status status = ifd_infer_node(inf, node);
    if (is_of_the_model(status)) {
      ifd_error_clear(inf->err);
      w->possible = false;
    } else
      TRY(status);
    if (has_wrong_rank(w->rw, node)) w->possible = false;
  }
  return IFD_OK;
}

/* Whether what follows the If can take what this branch gives. */
static ifd_status check(ifd_rewrite *rw, const ifd_node *node, const ifd_graph *branch, bool *possible) {
  walk w = {.rw = rw, .left = MOST_NODES};
  TRY(take_facts(&w, node, branch));
  w.possible = true;
  TRY(check_nodes(&w, node->next));
  *possible = w.possible;
  return IFD_OK;
}

/* Facts as they are without an assumption. */
static ifd_status restore(ifd_rewrite *rw, const ifd_node *node) {
  for (int n = 0; node && n <= MOST_NODES; node = node->next, n++)
    TRY(ifd_infer_node(ifd_rw_inference(rw), node));
  return IFD_OK;
}

/* Branches that give equal ranks cannot be told apart behind. */
static bool ranks_differ(ifd_rewrite *rw, const ifd_graph *a, const ifd_graph *b) {
  for (int i = 0; i < a->outputs.n && i < b->outputs.n; i++)
    if (ifd_rw_rank(rw, a->outputs.v[i]) != ifd_rw_rank(rw, b->outputs.v[i])) return true;
  return false;
}

static ifd_status prune(ifd_rewrite *rw, ifd_node *node) {
  const ifd_graph *branches[2] = {ifd_node_graph(node, "else_branch"), ifd_node_graph(node, "then_branch")};
  bool possible[2];
  if (!branches[0] || !branches[1] || !ranks_differ(rw, branches[0], branches[1])) return IFD_OK;
  for (int i = 0; i < 2; i++) TRY(check(rw, node, branches[i], &possible[i]));
  TRY(restore(rw, node));
  if (possible[0] == possible[1])
    return ifd_rw_refuse(rw, "what follows can take the outputs of either of its branches");
  return ifd_rw_inline(rw, branches[possible[1]], node);
}

const ifd_pass ifd_pass_prune_if = {
    .summary = "takes the branch of an If whose outputs alone the nodes behind can take",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"If", IFD_EXACT, prune}, {0}},
};
