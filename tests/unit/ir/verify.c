#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/text.h"
#include "ir/verify.h"

#define H "<ir_version: 10, opset_import: [\"\" : 17, \"ai.onnx.ml\" : 3, \"d\" : 1]>\n"

static ifd_model *parse(const char *text) {
  ifd_error err = {0};
  ifd_model *m = NULL;
  if (ifd_text_parse(&err, &m, text, strlen(text), NULL) != IFD_OK)
    fail_msg("%s\n%s: %s", text, err.where, err.text);
  return m;
}

static void expect(const ifd_model *m, const char *where, const char *what) {
  ifd_error err = {0};
  ifd_status status = ifd_verify_model(&err, m);
  if (!what) {
    if (status != IFD_OK) fail_msg("%s: %s", err.where, err.text);
    return;
  }
  if (status != IFD_BAD_MODEL || !strstr(err.where, where) || !strstr(err.text, what))
    fail_msg("'%s' was expected, not '%s: %s'", what, err.where, err.text);
}

static void good_models_pass(void **state) {
  (void)state;
  static const char *const cases[] = {
      H "g () => () {}",
      H "g (float[N,3] x) => (y, x) <float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}> { t = MatMul (x, w) y = "
        "Clip (t) }",
      H "g (float[N] x, float lo) => (y) { y = Clip (x, , lo) }",
      H "g (float[N] x) => (y) { y, , = Dropout (x) }",
      H "g (float[N] x, bool c) => (y) { y = If (c) <then_branch = a () => (p) { p = Neg (x) }, else_branch "
        "= b () => (p) "
        "{ p = Abs (x) }> }",
      H "g (float[N] x, float[M] z) => (y) { y = Concat <axis = 0> (x, z, x) }",
      H "g (seq(float[N]) s, int64 i) => (y) { y = SequenceAt (s, i) }",
      H "g (optional(seq(float[N])) s) => (y) { y = OptionalGetElement (s) }",
      H "g (map(int64, float) m) => (y) { y = ai.onnx.ml.CastMap (m) }",
      H "g (float[N] x) => (y) { y = d.Unheard <free = 3> (x, x, x) }",
      H "g (float[N] x) => (y) { y = d.f <k = 1> (x) } <domain: \"d\", opset_import: [\"\" : 17]> f <k, j: "
        "int = 2> (x) => (y) "
        "{ y = Softmax <axis: int = @k> (x) }",
      H "g (float[N] x) => (y) <float[N,N,N] t> { t = Neg (x) y = Abs (t) }", /* a false claim */
      "<ir_version: 3, opset_import: [\"\" : 9]> g (float[2] x, float[2] w = {1, 2}) => (y) { y = Add (x, w) "
      "}",
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ifd_model *m = parse(cases[i]);
    expect(m, NULL, NULL);
    ifd_model_destroy(m);
  }
}

static void schemas_are_kept(void **state) {
  (void)state;
  static const struct {
    const char *body, *where, *what;
  } cases[] = {
      {"g (float[N] x) => (y) { y = Reluu (x) }", "node 'y' (Reluu)", "does not exist at opset 17"},
      {"g (float[N] x) => (y) { [up] y = Upsample <mode = \"nearest\"> (x, x) }", "node 'up' (Upsample)",
       "withdrawn"},
      {"g (float[N] x) => (y) { y = ai.onnx.preview.training.Adam (x) }", "Adam",
       "opset_import lacks domain"},
      {"g (float[N] x) => (y) { y = Add (x) }", "Add", "1 inputs, but the operator takes at least 2"},
      {"g (float[N] x) => (y) { y = Relu (x, x) }", "Relu", "2 inputs, but the operator takes at most 1"},
      {"g (float[N] x) => (y) { y, z = Relu (x) }", "Relu", "2 outputs, but the operator takes at most 1"},
      {"g (float[N] x) => (y) { y = Add (\"\", x) }", "Add", "input 0 (A) is absent"},
      {"g (float[N] x) => (y) { y = Relu <alpha = 1.0> (x) }", "Relu", "attribute 'alpha' does not exist"},
      {"g (float[N] x) => (y) { y = Softmax <axis = 1.0> (x) }", "Softmax", "attribute 'axis' has type"},
      {"g (float[N] x) => (y) { y = Concat (x, x) }", "Concat", "attribute 'axis' is missing"},
      {"g (string[N] x) => (y) { y = Relu (x) }", "Relu", "is string[N], which is not allowed for T"},
      {"g (seq(float[N]) x) => (y) { y = Relu (x) }", "Relu", "is seq(float[N]), which is not allowed for T"},
      {"g (float[N] x, double[N] z) => (y) { y = Add (x, z) }", "Add", "T is another type at this node"},
      {"g (float[N] x, float[N] c) => (y) { y = Where (c, x, x) }", "Where", "not allowed for B"},
      {"g (float[N] x) => (y) { y = Softmax <axis: int = @a> (x) }", "Softmax", "refers to 'a'"},
      {"g (float[N] x) => (y) { y = d.f (x) } <domain: \"d\", opset_import: [\"\" : 17]> f <b> (x) => (y) "
       "{ y = Softmax <axis: int = @a> (x) }",
       "function 'f'", "refers to 'a'"},
      {"g (float[N] x) => (y) { y = d.f (x) } <domain: \"d\", opset_import: [\"d\" : 1]> f (x) => (y) { y = "
       "d.h (x) }"
       "<domain: \"d\", opset_import: [\"d\" : 1]> h (x) => (y) { y = d.f (x) }",
       "function 'h'", "function 'f' calls itself"},
      {"g (float[N] x, bool c) => (y) { y = Neg (x) z = If (c) <then_branch = a () => (y) { y = Neg (x) }, "
       "else_branch = b () => (q) { q = Neg (x) }> }",
       "", "hides a value of an outer graph"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[1024];
    snprintf(text, sizeof text, H "%s", cases[i].body);
    ifd_model *m = parse(text);
    expect(m, cases[i].where, cases[i].what);
    ifd_model_destroy(m);
  }
}

/* ---- rules that only wrong code breaks: each is broken by hand in a good model ---- */

static const char good[] =
    H "g (float[N] x, bool c) => (z) <float[1] w = {2}>\n"
      "{ a = Relu (x)  y = Mul (a, w)\n"
      "  z = If (c) <then_branch = t () => (p) { p = Neg (y) }, else_branch = e () => (p) { p = Abs (y) }> }";

typedef struct parts {
  ifd_graph *g, *then;
  ifd_node *relu, *mul, *branch;
  ifd_value *x, *w, *a, *y, *z;
} parts;

static void use_lost(parts *p) { p->a->uses.n--; }
static void use_added(parts *p) { p->a->uses.n++; }
static void use_twice(parts *p) { p->y->uses.v[0] = p->y->uses.v[1]; }
static void use_elsewhere(parts *p) { p->a->uses.v[0].index = 1; }
static void input_changed(parts *p) { p->mul->inputs[0] = p->x; }
static void unsorted(parts *p) {
  long r = p->relu->rank;
  p->relu->rank = p->mul->rank;
  p->mul->rank = r;
}
static void list_broken(parts *p) { p->mul->prev = NULL; }
static void count_wrong(parts *p) { p->g->n_nodes++; }
static void producer_wrong(parts *p) { p->a->producer = p->mul; }
static void output_index_wrong(parts *p) { p->a->output = 3; }
static void output_not_made(parts *p) { ifd_node_remove(p->branch); }
static void outputs_miscounted(parts *p) { p->z->n_outputs = 2; }
static void output_of_other_graph(parts *p) { p->then->outputs.v[0] = p->y; }
static void input_made_by_node(parts *p) { p->x->is_input = false; }
static void constant_without_data(parts *p) { ((ifd_tensor *)p->w->constant)->data = NULL; }
static void constant_of_no_type(parts *p) { ((ifd_tensor *)p->w->constant)->dtype = IFD_UNDEFINED; }
static void constant_gone(parts *p) { ifd_graph_remove_constant(p->w); }
static void constant_made_by_node(parts *p) { p->a->constant = p->w->constant; }
static void graph_of_other_node(parts *p) { p->then->owner = p->relu; }
static void inner_value_read_outside(parts *p) { p->mul->inputs[0] = p->then->first->outputs[0]; }
static void hidden_by_name(parts *p) { p->then->first->outputs[0]->name = "y"; }
static void reads_own_owner(parts *p) {
  ifd_error err = {0};
  assert_int_equal(ifd_node_set_input(&err, p->then->first, 0, p->z), IFD_OK);
}
static void inferred_type_not_allowed(parts *p) {
  p->a->type = ifd_type_tensor(&p->g->model->arena, IFD_STRING, 0, NULL);
}

static void structure_is_checked(void **state) {
  (void)state;
  static const struct {
    void (*harm)(parts *p);
    const char *where, *what;
  } cases[] = {
      {use_lost, "node 'y' (Mul)", "list of readers of 'a' lacks input 0"},
      {use_added, "", "'a' lists 2 readers instead of 1"},
      {use_twice, "", "list of readers of 'y' lacks input 0"},
      {use_elsewhere, "node 'y' (Mul)", "list of readers of 'a' lacks input 0"},
      {input_changed, "node 'y' (Mul)", "list of readers of"},
      {unsorted, "node 'a' (Relu)", "out of order"},
      {list_broken, "node 'a' (Relu)", "out of order"},
      {count_wrong, "", "3 nodes instead of 4"},
      {producer_wrong, "node 'a' (Relu)", "output 0 'a' is also made elsewhere"},
      {output_index_wrong, "node 'a' (Relu)", "output 0 'a' is also made elsewhere"},
      {output_not_made, "", "graph output 'z' is not defined"},
      {outputs_miscounted, "", "'z' is 1 times an output instead of 2"},
      {output_of_other_graph, "node 'z' (If)", "graph output 'y' is of another graph"},
      {input_made_by_node, "", "graph input 'x' is no input value"},
      {constant_without_data, "", "initializer 'w' has no data"},
      {constant_of_no_type, "", "initializer 'w' has no element type"},
      {constant_gone, "node 'y' (Mul)", "input 1 'w' is not defined before"},
      {constant_made_by_node, "node 'a' (Relu)", "also an input or initializer"},
      {graph_of_other_node, "node 'z' (If)", "holds a graph of another node"},
      {inner_value_read_outside, "node 'y' (Mul)", "cannot be seen from this graph"},
      {hidden_by_name, "node 'z' (If): node 'y' (Neg)", "is not of this graph"},
      {reads_own_owner, "node 'z' (If): node 'p' (Neg)", "input 0 'z' is not defined before"},
      {inferred_type_not_allowed, "node 'a' (Relu)", "is string, which is not allowed"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ifd_model *m = parse(good);
    ifd_graph *g = m->graph;
    parts p = {.g = g, .relu = g->first, .mul = g->first->next, .branch = g->last};
    p.then = ifd_node_graph(p.branch, "then_branch");
    p.x = ifd_graph_find_value(g, "x");
    p.w = ifd_graph_find_value(g, "w");
    p.a = p.relu->outputs[0];
    p.y = p.mul->outputs[0];
    p.z = p.branch->outputs[0];
    expect(m, NULL, NULL);
    cases[i].harm(&p);
    expect(m, cases[i].where, cases[i].what);
    ifd_model_destroy(m);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_models_pass),
      cmocka_unit_test(schemas_are_kept),
      cmocka_unit_test(structure_is_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
