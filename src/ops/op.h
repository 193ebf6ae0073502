/* Operator rows: everything infold knows of an operator beyond its schema (schema.h) stands in one row of a
 * family file src/ops/FAMILY.c, which defines `const ifd_op ifd_ops_FAMILY[]`, ended by a row without a name.
 * A row serves all versions of its operator from `since` up to the next row of the same name; a change of
 * meaning is another row, never an `if (opset >= …)` in a kernel.
 *
 * - infer: dtype and shape of the outputs from those of the inputs; dims may be symbolic. The same function
 *   serves the graph (symbols) and the plan of a run (numbers).
 * - eval: the reference: reads whole input values, makes its outputs, any type, plain and obviously right.
 *   Constant folding, --backend ref and --float64 run it, and running falls back on it.
 * - lower, optional: the fast way for inputs of known type and shape: kernels, parameters, tasks
 *   (kernels/launch.h). May decline. Bits must not depend on batch, threads or ISA.
 * - cost, optional: multiply-accumulates of one evaluation. Kernels of operators that have it take denormal
 *   numbers for zeros.
 * - batch, optional: how samples of a batch pass one by one (shared/batch.h). */
#ifndef IFD_OPS_OP_H
#define IFD_OPS_OP_H

#include "base/cpu.h"
#include "ir/ir.h"
#include "kernels/launch.h"
#include "ops/schema.h"

/* ---- infer ---- */

/* Elements of a small integer tensor (rank 0 or 1) as dims: shape arithmetic, symbolic. */
typedef struct ifd_elements {
  int rank, n;
  const ifd_dim *d;
} ifd_elements;

typedef struct ifd_infer {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena; /* where types and elements are made */
  ifd_dims *dims;
  /* For each input of the node. type is &ifd_type_unknown where absent or unknown; constant is NULL unless
   * known and dense in memory (splats and packed are possible: read with ifd_tensor_get_*); elements is NULL
   * unless a small integer tensor is known. */
  const ifd_type *const *in;
  const ifd_tensor *const *constant;
  const ifd_elements *const *elements;
  /* For each output, &ifd_type_unknown / NULL on entry. */
  const ifd_type **out;
  const ifd_elements **out_elements;
  /* Infers a subgraph whose inputs have these types (&ifd_type_unknown: as declared) and gives its outputs'
   * types. */
  ifd_status (*subgraph)(struct ifd_infer *x, const ifd_graph *graph, const ifd_type *const *in, int n_in,
                         const ifd_type **out, int n_out);
  void *driver;
} ifd_infer;

/* Builders: each sets an output's type. Out of memory is a failure; a wish that cannot be met (unknown rank
 * …) is not. */
ifd_status ifd_infer_tensor(ifd_infer *x, int output, ifd_dtype dtype, int rank, const ifd_dim *dims);
ifd_status ifd_infer_unranked(ifd_infer *x, int output, ifd_dtype dtype);
ifd_status ifd_infer_same(ifd_infer *x, int output, int input);                     /* type of the input */
ifd_status ifd_infer_same_as(ifd_infer *x, int output, int input, ifd_dtype dtype); /* shape of the input */
/* Broadcast of inputs [first, last], element type given. BAD_MODEL when they cannot broadcast. */
ifd_status ifd_infer_broadcast(ifd_infer *x, int output, ifd_dtype dtype, int first, int last);
/* One dimension of a broadcast: what a and b become together, BAD_MODEL when they cannot. */
ifd_status ifd_infer_broadcast_dim(ifd_infer *x, ifd_dim *out, ifd_dim a, ifd_dim b);
ifd_status ifd_infer_elements(ifd_infer *x, int output, int rank, int n, const ifd_dim *d);
/* Rank of an input tensor, or -1 when unknown. */
static inline int ifd_infer_rank(const ifd_infer *x, int i) {
  return i < x->node->n_inputs && x->in[i]->has_rank ? x->in[i]->rank : -1;
}
static inline ifd_dtype ifd_infer_dtype(const ifd_infer *x, int i) {
  return i < x->node->n_inputs && x->in[i]->kind == IFD_KIND_TENSOR ? x->in[i]->dtype : IFD_UNDEFINED;
}
static inline ifd_dim ifd_infer_dim(const ifd_infer *x, int i, int axis) { return x->in[i]->dims[axis]; }
/* The common infer functions, for rows to name. */
ifd_status ifd_infer_like_first(ifd_infer *x);      /* output 0 has the type of input 0 */
ifd_status ifd_infer_bool_like_first(ifd_infer *x); /* shape of input 0, bool */
ifd_status ifd_infer_broadcast_all(ifd_infer *x);   /* output 0: broadcast of all inputs, dtype of input 0 */
ifd_status ifd_infer_broadcast_bool(ifd_infer *x);  /* the same, bool */

/* ---- eval ---- */

typedef struct ifd_eval {
  ifd_error *err;
  const ifd_node *node;
  int n_in, n_out;
  const ifd_datum *const *in; /* NULL where absent. Tensors are dense and unpacked. */
  ifd_datum *out;             /* to be made; see wanted */
  ifd_arena *scratch;         /* freed after the evaluation */
  ifd_budget *budget;         /* memory of outputs */
  bool float64;               /* float32 models run in double: ifd_eval_out turns FLOAT into DOUBLE */
  ifd_isa isa;                /* kernels that an eval may call; IFD_ISA_REF under --backend ref */
  uint64_t *random;           /* state of the run's generator */
  int64_t *steps_left; /* loop trips this run may still take: a loop counts each down, and fails with LIMIT */
  /* memory the plan reserved for an output, or NULL */
  void *const *planned;
  const size_t *planned_bytes;
  /* Runs a subgraph of this node; outer values are found by the runner. Outputs are owned by the caller. */
  ifd_status (*run_graph)(struct ifd_eval *x, const ifd_graph *graph, const ifd_datum *inputs, int n_inputs,
                          ifd_datum *outputs, int n_outputs);
  void *runner;
} ifd_eval;

static inline bool ifd_eval_has(const ifd_eval *x, int i) { return i < x->n_in && x->in[i]; }
/* Tensor input i; the input must be present and a tensor (the schema was checked). */
static inline const ifd_tensor *ifd_eval_in(const ifd_eval *x, int i) { return &x->in[i]->tensor; }
static inline bool ifd_eval_wants(const ifd_eval *x, int i) { return ifd_node_has_output(x->node, i); }
/* Makes tensor output i, not zeroed. Read the dtype from *out: it may be DOUBLE for FLOAT. */
ifd_status ifd_eval_out(ifd_eval *x, ifd_tensor **out, int i, ifd_dtype dtype, const ifd_shape *shape);
/* Output i is a tensor with input j's data and another shape of the same count (no copy where memory is
 * counted). */
ifd_status ifd_eval_reshape(ifd_eval *x, int i, int j, const ifd_shape *shape);
/* Output i is input j. */
ifd_status ifd_eval_forward(ifd_eval *x, int i, int j);
/* Elements of input i as int64 in scratch (any integer type). */
ifd_status ifd_eval_ints(ifd_eval *x, const int64_t **out, int64_t *n, int i);
/* Elements of input i as double / float in scratch (any float or integer type). */
ifd_status ifd_eval_f64(ifd_eval *x, const double **out, int i);
ifd_status ifd_eval_f32(ifd_eval *x, const float **out, int i);
/* Runs the node's reference: outputs are made or, on failure, none is left. String outputs own their bytes,
 * so an operator may let elements point into inputs or scratch. The error names the node. */
ifd_status ifd_eval_node(ifd_eval *x);
/* Axis in [-rank, rank) to [0, rank), or BAD_INPUT. */
ifd_status ifd_axis(ifd_error *err, int *out, int64_t axis, int rank);
/* The element type that an attribute names, UNDEFINED for 0; BAD_MODEL when no type has its number. */
ifd_status ifd_node_dtype(ifd_error *err, const ifd_node *node, const char *attr, ifd_dtype otherwise,
                          ifd_dtype *out);

/* ---- lower ---- */

typedef ifd_status ifd_make(ifd_error *err, ifd_arena *arena, const ifd_node *node, const void **out);

typedef struct ifd_lower {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena; /* the plan's: parameters live here */
  ifd_isa isa;
  bool exact_conv; /* the session wants no Winograd */
  int threads;     /* of a run: how work is split may follow from it where that changes no bit */
  /* Type and shape of each input and output (numbers only); NULL where absent. An input whose content is
   * known already has data (it may be splat or packed: read it with ifd_tensor_get_* or have it packed). */
  const ifd_tensor *const *in;
  const ifd_tensor *const *out;
  const bool *constant; /* input i is the same in every run of the session: it may be packed once */
  ifd_work *work;       /* the result; zeroed on entry */
  /* The form of a constant that kernels read, in 64-aligned memory that is shared by all plans of a session:
   * made once for each key (constant, pack, params bytes), before any step runs, not before this returns. */
  ifd_status (*packed)(struct ifd_lower *x, const void **out, const ifd_tensor *from,
                       const ifd_packing *packing);
  /* What a node's attributes become, however its inputs look: made once for all plans of a session, which
   * keeps it. make's memory is arena. */
  ifd_status (*once)(struct ifd_lower *x, const void **out, ifd_make *make);
  void *session;
} ifd_lower;

/* Adds a launch to x->work; params are copied to the plan. */
ifd_status ifd_lower_launch(ifd_lower *x, ifd_kernel run, const void *params, size_t params_size,
                            int64_t n_tasks, size_t scratch);
/* How many of n equal items (each of about item_ops operations) one task should take, so that tasks are
 * neither tiny nor fewer than a few threads need. From the shape alone: the number of threads is not
 * asked. */
int64_t ifd_lower_grain(int64_t n, double item_ops);

/* ---- batch ---- */

/* A node whose batch may run in parts, and its tensors as ifd_lower has them. */
typedef struct ifd_batch {
  const ifd_node *node;
  const ifd_tensor *const *in, *const *out;
} ifd_batch;

/* ---- rows ---- */

enum {
  IFD_OP_IMPURE = 1, /* not determined by its inputs (random): never folded */
  IFD_OP_COMMUTATIVE = 2,
  IFD_OP_ELEMENTWISE = 4, /* output element i depends on the broadcast element i of each input only */
  IFD_OP_MIXES_BATCH = 8, /* rows of a batch meet by definition (training BatchNormalization …) */
  IFD_OP_VIEW = 16,       /* output 0 is the data of input 0 under another shape */
  IFD_OP_ANYWHERE = 32,   /* its evaluation reads elements of whole bytes at any address, aligned or not */
};

typedef struct ifd_op {
  const char *name;
  const char *domain; /* NULL is ai.onnx */
  int since;
  unsigned flags;
  ifd_status (*infer)(ifd_infer *x);
  ifd_status (*eval)(ifd_eval *x);
  ifd_status (*lower)(ifd_lower *x);
  double (*cost)(const ifd_node *node, const ifd_shape *in,
                 const ifd_shape *out);      /* shapes by input / output index */
  bool (*mixes_batch)(const ifd_node *node); /* optional: where IFD_OP_MIXES_BATCH depends on the node */
  /* optional: what samples read of each input, where they pass one by one (shared/batch.h) */
  const char *(*batch)(const ifd_batch *b);
} ifd_op;

/* Whether rows of a batch meet in this node by definition. */
static inline bool ifd_op_mixes_batch(const ifd_node *node) {
  const ifd_op *op = node->op;
  return op && ((op->flags & IFD_OP_MIXES_BATCH) || (op->mixes_batch && op->mixes_batch(node)));
}
/* Whether a BatchNormalization has parameters for each position of a sample, not for each channel: spatial =
 * 0, before opset 9. Some exporters (MXNet's) write that beside parameters of channels, which are taken as
 * such; by the types of scale and input. */
bool ifd_bn_is_per_position(const ifd_node *bn);
/* The row for an operator at an opset version, or NULL. */
const ifd_op *ifd_op_find(const char *domain, const char *name, int opset);
/* Rows one after another, for listings; NULL at the end. */
const ifd_op *ifd_op_at(int index);

#endif
