/* Passes: rules that rewrite a graph, each proven before it is applied.
 *
 * A pass is one file passes/NAME.c that defines `const ifd_pass ifd_pass_NAME`: a summary, a phase and rules,
 * each with the operators at its root. The manager sweeps the nodes of every graph in order (subgraphs and
 * local functions included), infers each node anew from what is known by then, and offers it to the rules of
 * the phase until a whole sweep changes nothing. A rule looks around, and either refuses with a reason (kept
 * for --why), or states its edits in a patch that applies whole or not at all: every replaced value keeps
 * type and shape, nodes stay sorted, the file does not grow (unless allowed), dead nodes vanish. A rule never
 * changes what the model means; exactness says whether its floats may differ in the last bits. */
#ifndef IFD_PASS_PASS_H
#define IFD_PASS_PASS_H

#include "ops/infer.h"

typedef struct ifd_rewrite ifd_rewrite;

/* In this order; each until nothing changes, and all again while a later one changed something. Those from
 * INTEGER on are for running alone: they never reach a file. */
typedef enum ifd_phase {
  IFD_PHASE_SIMPLIFY, /* fold constants, remove what does nothing */
  IFD_PHASE_FUSE,     /* fewer nodes for the same function */
  IFD_PHASE_FINISH,   /* whole-graph tidying: duplicates, order of constants */
  IFD_PHASE_INTEGER,  /* what is quantized stays integers; before what takes floats takes the rest */
  IFD_PHASE_PLAN,     /* infold's own operators (domain "infold") */
  IFD_PHASE_CHAIN,    /* what these have left is joined */
  IFD_N_PHASES
} ifd_phase;

typedef enum ifd_exactness {
  IFD_EXACT,       /* same bits */
  IFD_REASSOCIATES /* same real-number function, other rounding */
} ifd_exactness;

typedef struct ifd_rule {
  const char *roots; /* operators, separated by spaces; "*" is any of ai.onnx; those of other domains are
                        "infold.Conv" … */
  ifd_exactness exactness;
  /* Tries at `root`. IFD_OK whether it patched, refused or did not apply; other statuses are real failures
   * (memory). */
  ifd_status (*apply)(ifd_rewrite *rw, ifd_node *root);
} ifd_rule;

typedef struct ifd_pass {
  const char *summary; /* one line: "folds BatchNormalization into the Conv before it" */
  ifd_phase phase;
  bool on_request;       /* runs only when named by --only, or by the option that stands for it */
  bool defines;          /* writes out operators that nothing else runs: all sessions need it */
  const ifd_rule *rules; /* ended by a rule without roots; or NULL */
  ifd_status (*graph)(ifd_rewrite *rw, ifd_graph *graph); /* a whole-graph step after each sweep; or NULL */
} ifd_pass;

typedef struct ifd_pass_entry {
  const char *name;
  const ifd_pass *pass;
} ifd_pass_entry;

/* All passes, by name; ended by {0}. */
extern const ifd_pass_entry ifd_passes[];

/* ---- for rules: looking ---- */

/* What is known of a value (type, constant, elements); never NULL. */
const ifd_facts *ifd_rw_facts(ifd_rewrite *rw, const ifd_value *value);
/* The constant content, or NULL (also when the value is NULL). */
const ifd_tensor *ifd_rw_constant(ifd_rewrite *rw, const ifd_value *value);
/* The same, or what a rule has computed and remembered of a value that stays computed in the file. */
const ifd_tensor *ifd_rw_known(ifd_rewrite *rw, const ifd_value *value);
/* Remembers the content of a value (its data in the model's arena) for all attempts to come, unless too much
 * is remembered already. */
ifd_status ifd_rw_remember(ifd_rewrite *rw, const ifd_value *value, const ifd_tensor *content);
/* The ai.onnx node of this type that makes the value, or NULL. */
ifd_node *ifd_rw_producer(const ifd_value *value, const char *op_type);
/* The same, and nobody else reads the value (and it is no graph output): it may vanish. */
ifd_node *ifd_rw_sole_producer(const ifd_value *value, const char *op_type);
/* infold's own operators: "Conv" is infold.Conv. */
#define IFD_OWN_DOMAIN "infold"
bool ifd_rw_is_own(const ifd_node *node, const char *op_type);
ifd_node *ifd_rw_own_producer(const ifd_value *value, const char *op_type);
/* Rank or -1; the dim, or an unknown when the rank is unknown. Dims compare with ==. */
int ifd_rw_rank(ifd_rewrite *rw, const ifd_value *value);
ifd_dim ifd_rw_dim(ifd_rewrite *rw, const ifd_value *value, int axis);
/* Whether both ranks are known and each dimension is the same, be it a number or an expression. */
bool ifd_rw_same_shape(ifd_rewrite *rw, const ifd_value *a, const ifd_value *b);
ifd_dtype ifd_rw_dtype(ifd_rewrite *rw, const ifd_value *value);
/* True when every element equals x exactly. */
bool ifd_rw_is_filled_with(ifd_rewrite *rw, const ifd_value *value, double x);
/* The single element of a constant of one element, whatever its rank. */
bool ifd_rw_scalar(ifd_rewrite *rw, const ifd_value *value, double *out);
/* The opset of ai.onnx that applies at this node. */
int ifd_rw_opset(const ifd_node *node);
/* Whether the model is for a session, not for a file. */
bool ifd_rw_for_running(const ifd_rewrite *rw);
/* Whether convolutions are to be sums of their products, whatever their weights. */
bool ifd_rw_exact_conv(const ifd_rewrite *rw);
/* Whether ai.onnx has the operator at this node's opset, or at any where the model is for a session alone. */
bool ifd_rw_offers(const ifd_rewrite *rw, const ifd_node *at, const char *op_type);
ifd_arena *ifd_rw_scratch(ifd_rewrite *rw); /* until the attempt ends */
ifd_arena *ifd_rw_arena(ifd_rewrite *rw);   /* the model's: tensors that become constants */
ifd_error *ifd_rw_error(ifd_rewrite *rw);
ifd_dims *ifd_rw_dims(ifd_rewrite *rw);

/* ---- for rules: refusing ---- */

/* Records why the pass does not apply at this node, for --why; always IFD_OK, so `return ifd_rw_refuse(rw,
 * …)`. Anything staged in the patch is dropped. */
ifd_status ifd_rw_refuse(ifd_rewrite *rw, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- for rules: the patch ---- */

/* A new constant; `hint` names it (made unique). The tensor's data must live in the model's arena or a
 * constant of the model. */
ifd_status ifd_rw_add_constant(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *tensor, const char *hint);
ifd_status ifd_rw_add_ints(ifd_rewrite *rw, ifd_value **out, const int64_t *v, int n,
                           const char *hint); /* 1-D int64 */
ifd_status ifd_rw_add_scalar(ifd_rewrite *rw, ifd_value **out, ifd_dtype dtype, double x,
                             const char *hint); /* rank 0 */
/* A new node with fresh outputs; attributes may be set on it with ifd_node_set_*. op_type may be
 * "infold.Conv" …; inputs may hold NULL. An operator that ifd_rw_offers offers but the opset has not is its
 * first version. */
ifd_status ifd_rw_add_node(ifd_rewrite *rw, ifd_node **out, const char *op_type, ifd_value *const *inputs,
                           int n_inputs, int n_outputs);
/* A new node like `like` (operator, attributes, name, doc) with other inputs. */
ifd_status ifd_rw_add_like(ifd_rewrite *rw, ifd_node **out, const ifd_node *like, ifd_value *const *inputs,
                           int n_inputs);
/* A Gather of one index along an axis, which stays as 1 or goes. */
ifd_status ifd_rw_add_gather(ifd_rewrite *rw, ifd_node **out, ifd_value *x, int64_t axis, int64_t index,
                             bool keeps);
/* All readers of `old`, and its place among the graph's outputs, shall read `with` (made by this patch or
 * there already). The name of old survives where old is a graph output. */
ifd_status ifd_rw_replace(ifd_rewrite *rw, ifd_value *old, ifd_value *with);
/* One reader's input becomes `with` (NULL: absent). */
ifd_status ifd_rw_set_input(ifd_rewrite *rw, ifd_node *reader, int index, ifd_value *with);

/* ---- for whole-graph steps: these act at once ---- */

/* Removes a node that nobody reads, then what only it read. */
ifd_status ifd_rw_remove_dead(ifd_rewrite *rw, ifd_node *node);
/* Removes a constant that nobody reads and no caller may override. */
void ifd_rw_remove_constant(ifd_rewrite *rw, ifd_value *value);
/* Readers of `from`, which is no graph output, read the equal value `into`; `from` and what only it needed
 * vanish. */
ifd_status ifd_rw_merge(ifd_rewrite *rw, ifd_value *from, ifd_value *into);

/* Loses what a Loop carries as number i, and its body hands on as it came, unless its last value is a graph
 * output or a name is hidden: readers read what it begins with. The Loop may go, too. */
ifd_status ifd_rw_drop_carried(ifd_rewrite *rw, ifd_node *loop, int i);

/* Whether the file may take so many more bytes. */
bool ifd_rw_may_grow(const ifd_rewrite *rw, int64_t bytes);
/* What is known, to be brought up to date after a change. */
ifd_inference *ifd_rw_inference(ifd_rewrite *rw);
/* Puts the nodes and constants staged so far (ifd_rw_add_…) before `before`. */
ifd_status ifd_rw_place(ifd_rewrite *rw, ifd_node *before);

/* The nodes of a local function take the place of a call, unless they would mean something else there. */
ifd_status ifd_rw_inline_call(ifd_rewrite *rw, ifd_node *call);
/* The bytes that this adds to the file, and those that go with a function without calls. */
int64_t ifd_rw_inline_growth(const ifd_node *call);
int64_t ifd_rw_function_bytes(const ifd_function *f);
/* Drops local functions that nothing calls. */
ifd_status ifd_rw_drop_uncalled(ifd_rewrite *rw);
/* Puts copies of the nodes of a graph of node's own before `node`, reading `inputs` in the place of the
 * graph's (NULL: it has none); made[i] is what its output i became. */
ifd_status ifd_rw_copy_body(ifd_rewrite *rw, const ifd_graph *body, ifd_value **inputs, ifd_value **made,
                            ifd_node *node);
/* made[i] takes the place of the node's output i, and the node goes. */
ifd_status ifd_rw_supplant(ifd_rewrite *rw, ifd_node *node, ifd_value *const *made);
/* Both, of a graph without inputs. */
ifd_status ifd_rw_inline(ifd_rewrite *rw, const ifd_graph *body, ifd_node *node);

/* ---- running them ---- */

typedef struct ifd_optimize_options {
  const char *const *only; /* pass names, NULL-ended; NULL: all but those on request */
  const char *const *skip;
  const char *const *request; /* passes that run only on request, NULL-ended, or NULL */
  long max_rewrites;          /* < 0: no bound */
  bool grow;                  /* the file may grow */
  int64_t loan;     /* bytes by which it may grow even so: the caller looks whether they came back */
  bool verify;      /* run the verifier after every patch (tests) */
  bool provenance;  /* note on each new node which ones it came from */
  bool keep_bn;     /* no BatchNormalization is folded, merged or removed while it is read */
  bool exact_only;  /* only rules of the exact class */
  bool for_running; /* the plan phase too: the model is for a session, not for a file */
  bool no_refusals; /* nobody will ask the report why something is left */
  bool exact_conv;  /* of a session: convolutions are sums of products */
} ifd_optimize_options;

typedef struct ifd_pass_count {
  const char *pass;
  long rewrites;
} ifd_pass_count;

typedef struct ifd_refusal {
  const char *node, *op_type, *pass, *reason;
} ifd_refusal;

typedef struct ifd_optimize_report {
  ifd_arena arena; /* owns all below; free with ifd_arena_free */
  IFD_VEC(ifd_pass_count) counts;
  IFD_VEC(ifd_refusal) refusals;  /* at nodes that are left */
  IFD_VEC(const char *) warnings; /* "node 'bn3': variance of channel 7 is -0.2: left alone" */
  long rewrites;
  int64_t bytes_before, bytes; /* of nodes and constants, provenance aside */
  long nodes;                  /* that are left, of subgraphs and local functions too */
  bool would_grow;             /* something was refused for that alone */
} ifd_optimize_report;

/* Warns the user about something a rule met; kept once per text. */
ifd_status ifd_rw_warn(ifd_rewrite *rw, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Optimizes in place. */
ifd_status ifd_optimize(ifd_error *err, ifd_model *model, const ifd_optimize_options *options,
                        ifd_optimize_report *report);

#endif
