/* infold: optimize, run and inspect ONNX models on CPUs.
 *
 *     infold_error err = {0};
 *     infold_model *model;
 *     infold_session *session;
 *     if (infold_load_model(&err, &model, "net.onnx", NULL) ||
 *         infold_create_session(&err, &session, model, NULL))
 *       fprintf(stderr, "%s\n", err.message);
 *
 * Every function that can fail takes an infold_error first (may be NULL), returns its status and gives
 * results through the next parameter; on failure that result is NULL. Any may run out of memory (NO_MEMORY,
 * LIMIT), those that read models or values may find no file (IO) or a bad one (BAD_FILE, BAD_MODEL,
 * UNSUPPORTED), and a name, number or option that makes no sense is USAGE; other statuses are named below.
 *
 * Objects made by infold_create_* and infold_load_* are freed by the matching infold_destroy_* (NULL is
 * fine); infold_get_* borrows from its object. Texts given through `char **` are freed with infold_free. The
 * library never prints, exits or keeps globals. A model may be shared by sessions (it is counted); a session
 * is immutable and may be run by many threads at once. Names and strings are UTF-8. */
#ifndef INFOLD_H
#define INFOLD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INFOLD_API __attribute__((visibility("default")))

typedef enum infold_status {
  INFOLD_OK,
  INFOLD_DIFFERS,     /* a check found a difference */
  INFOLD_USAGE,       /* a call or option makes no sense */
  INFOLD_BAD_INPUT,   /* an input does not fit the model */
  INFOLD_IO,          /* a file cannot be read or written */
  INFOLD_BAD_FILE,    /* a file is malformed */
  INFOLD_BAD_MODEL,   /* a model breaks the ONNX specification */
  INFOLD_UNSUPPORTED, /* infold cannot do it */
  INFOLD_LIMIT,       /* a resource limit was reached */
  INFOLD_NO_MEMORY
} infold_status;

typedef struct infold_error {
  infold_status status;
  char message[1600]; /* one line: "net.onnx: node 'conv1' (Conv): what is wrong and what was expected" */
} infold_error;

typedef struct infold_model infold_model;
typedef struct infold_session infold_session;
typedef struct infold_pool infold_pool;
typedef struct infold_value infold_value;
typedef struct infold_report infold_report;
typedef struct infold_diagnosis infold_diagnosis;

INFOLD_API const char *infold_version(void);
/* Exit code of the command for a status: 0 fine, 1 differs, 2 usage, 3 bad file, 4 unsupported, 5 limit. */
INFOLD_API int infold_exit_code(infold_status status);
INFOLD_API void infold_free(void *p);

/* ---- models ---- */

/* Limits of memory are bytes, SIZE_MAX for none. The default is 2 GiB, 8 times the bytes of the model's
 * weights and 64 times those of a run's inputs, and at most half of what this process can hold. */
typedef struct infold_load_options {
  int allow_links;   /* external data may be reached through symbolic or hard links */
  size_t max_memory; /* bytes that the model may hold besides mapped files; 0: the default */
} infold_load_options;

/* Reads and validates a model. External data is mapped from the model's folder when it is needed. options may
 * be NULL. */
INFOLD_API infold_status infold_load_model(infold_error *err, infold_model **out, const char *path,
                                           const infold_load_options *options);
/* The same from memory, which must stay until the model is destroyed; folder is where external data may lie,
 * or NULL. */
INFOLD_API infold_status infold_load_model_from_memory(infold_error *err, infold_model **out,
                                                       const void *bytes, size_t len, const char *folder,
                                                       const infold_load_options *options);
/* A model from ONNX's textual syntax. */
INFOLD_API infold_status infold_parse_model(infold_error *err, infold_model **out, const char *text,
                                            size_t len);
INFOLD_API void infold_destroy_model(infold_model *model);
/* Writes the model whole or not at all. external_data: file name for the weights beside it, or NULL (then
 * weights go into the model unless it would pass 2 GB). */
INFOLD_API infold_status infold_save_model(infold_error *err, const infold_model *model, const char *path,
                                           const char *external_data);
/* The same into memory, with all weights inside: *len bytes, freed with infold_free. LIMIT when the model
 * would pass 2 GB. */
INFOLD_API infold_status infold_save_model_to_memory(infold_error *err, void **bytes, size_t *len,
                                                     const infold_model *model);
/* Fixes dimensions of an input: `name` is a graph input, dims its whole shape. The model is changed. */
INFOLD_API infold_status infold_set_input_shape(infold_error *err, infold_model *model, const char *name,
                                                const int64_t *dims, int rank);
/* Fixes a free dimension wherever inputs have it: the one of this name (dim_param), or, when name is NULL,
 * the first of every input. The model is changed. */
INFOLD_API infold_status infold_fix_dim(infold_error *err, infold_model *model, const char *name,
                                        int64_t number);

/* ---- editing ---- */

/* These change the model, which no session may be using; when one fails, the model may be half edited, and is
 * for infold_destroy_model alone. They need no types but those that are said. */

/* Cuts the model down to what computes `outputs` from `inputs`: names of values of the main graph, ended by
 * NULL, which become its inputs and outputs. inputs may be NULL (those of the model that are needed),
 * outputs, too (the model's). Types of new inputs must be known. */
INFOLD_API infold_status infold_extract_model(infold_error *err, infold_model *model,
                                              const char *const *inputs, const char *const *outputs);
/* Renames a value wherever it is read, in subgraphs, too: one of the main graph, or else every one of this
 * name in subgraphs. USAGE where `to` is the name of another. */
INFOLD_API infold_status infold_rename_value(infold_error *err, infold_model *model, const char *from,
                                             const char *to);
/* Makes a value of the main graph an output, the last one. USAGE where it is one. */
INFOLD_API infold_status infold_add_output(infold_error *err, infold_model *model, const char *name);
/* Removes an output, and what only it needed. USAGE for the only one. */
INFOLD_API infold_status infold_remove_output(infold_error *err, infold_model *model, const char *name);
/* Gives the inputs another first dimension: a number, or a name that makes it free. These are the inputs that
 * have the first one's, and further dimensions of its name. Shapes of Reshape that hold the old one are made
 * to follow where this is proven to mean the same for each sample. *notes (may be NULL) says, line by line,
 * what was changed and what may still hold the old one. */
INFOLD_API infold_status infold_set_batch(infold_error *err, char **notes, infold_model *model,
                                          const char *batch);

/* ---- optimizing ---- */

typedef struct infold_optimize_options {
  const char *const *only; /* names of passes, NULL-ended, or NULL for the usual ones */
  const char *const *skip;
  int has_max_rewrites;
  long max_rewrites; /* bisects a bad rewrite */
  int grow;          /* the file may become larger */
  int keep_bn; /* every BatchNormalization that is read stays, its parameters its own: for training on */
  int no_provenance; /* do not note on new nodes, in metadata_props, which ones they came from */
  int raise_opset;   /* first to this version of ai.onnx (13 or later) if it has an older one: newer operators
                        replace more; 0: the version stays. UNSUPPORTED where that would change the meaning */
  int bn_inference;  /* first put BatchNormalization exported in training mode into inference mode, where its
                        statistics look trained: this changes what the model computes */
} infold_optimize_options;

/* A new, optimized model; `model` is left as it was. report may be NULL. */
INFOLD_API infold_status infold_optimize_model(infold_error *err, infold_model **out, infold_report **report,
                                               const infold_model *model,
                                               const infold_optimize_options *options);
INFOLD_API void infold_destroy_report(infold_report *report);
/* What happened: format "table", "json" or "markdown"; width in columns for tables (0: as wide as it
 * takes). */
INFOLD_API infold_status infold_format_report(infold_error *err, char **out, const infold_report *report,
                                              const char *format, int width);
/* Why a node was left as it is: what each pass said that could have changed it; or what became of it. node is
 * a name, or that of an output. USAGE when there is no such node. */
INFOLD_API infold_status infold_explain_node(infold_error *err, char **out, const infold_report *report,
                                             const char *node);
/* The same of every BatchNormalization, Mul, Add, Reshape and Transpose that is left, and of every new node
 * the nodes that it came from. */
INFOLD_API infold_status infold_explain_report(infold_error *err, char **out, const infold_report *report);

/* ---- values ---- */

/* Kinds of values; dtypes are the numbers of TensorProto.DataType. */
typedef enum infold_kind {
  INFOLD_UNKNOWN,
  INFOLD_TENSOR,
  INFOLD_SEQUENCE,
  INFOLD_OPTIONAL,
  INFOLD_MAP
} infold_kind;

/* A tensor: row-major, sizeof element by dtype (types narrower than a byte take a byte each); data is copied.
 * Strings: data is an array of `const char *`. */
INFOLD_API infold_status infold_create_tensor(infold_error *err, infold_value **out, int dtype,
                                              const int64_t *dims, int rank, const void *data);
/* The same over the caller's memory, which must stay until the value is destroyed. Not for strings. */
INFOLD_API infold_status infold_borrow_tensor(infold_error *err, infold_value **out, int dtype,
                                              const int64_t *dims, int rank, void *data);
/* Of items, as infold_get_item gives them: any number for a sequence, none or one for an optional, two for a
 * map (keys, which are 1-D int64 or strings, and as many values). They stay the caller's. dtype: of the
 * tensors inside, should there be none. */
INFOLD_API infold_status infold_create_value(infold_error *err, infold_value **out, infold_kind kind,
                                             int dtype, const infold_value *const *items, int n);
/* For input `input` of the session: from a .npy file, the array of the input's name in an .npz archive, or a
 * TensorProto, SequenceProto or OptionalProto file (.pb). Whether the value fits the input is for the run to
 * say. */
INFOLD_API infold_status infold_read_value(infold_error *err, infold_value **out, const char *path,
                                           const infold_session *session, int input);
/* Fills the input's type with seeded random values ("random"), or zeros ("zeros"). Free dimensions that are
 * first in some input are the batch and become `batch`, others become `size`. */
INFOLD_API infold_status infold_make_value(infold_error *err, infold_value **out,
                                           const infold_session *session, int input, const char *how,
                                           uint64_t seed, int64_t batch, int64_t size);
INFOLD_API void infold_destroy_value(infold_value *value);
INFOLD_API infold_kind infold_get_kind(const infold_value *value);
/* Of a tensor, of a map's keys, of a sequence's or optional's tensors; 0 where nothing says. */
INFOLD_API int infold_get_dtype(const infold_value *value);
/* Shape and elements of a tensor; data may be NULL where there are none. Strings come one by one: element i
 * in row-major order, its length, and *text, which a NUL need not end. */
INFOLD_API int infold_get_rank(const infold_value *value);
INFOLD_API const int64_t *infold_get_dims(const infold_value *value);
INFOLD_API const void *infold_get_data(const infold_value *value);
INFOLD_API size_t infold_get_string(const infold_value *value, size_t i, const char **text);
/* All strings one after another, each with a NUL behind it, to `to` unless that is NULL; the bytes of all. */
INFOLD_API size_t infold_join_strings(const infold_value *value, char *to);
/* Items of a sequence, or of an optional (0 or 1), or of a map: 2 (keys, values). Items are borrowed; NULL
 * where there is no item i, or out of memory: the first call makes them, and no other thread may look
 * meanwhile. */
INFOLD_API int infold_get_count(const infold_value *value);
INFOLD_API const infold_value *infold_get_item(const infold_value *value, int i);
/* "float[1,10]  -1.25 0.5 …": type, shape and a short view. */
INFOLD_API infold_status infold_format_value(infold_error *err, char **out, const infold_value *value);

/* ---- running ---- */

/* Threads for sessions to share. A run has all of them or, while another has, its caller alone: the sessions
 * of a process then do not crowd each other. threads: up to 4096, 0 for as many as this process may use. The
 * pool is counted: it may be destroyed before its sessions. */
INFOLD_API infold_status infold_create_pool(infold_error *err, infold_pool **out, int threads);
INFOLD_API void infold_destroy_pool(infold_pool *pool);

typedef struct infold_session_options {
  int threads;     /* up to 4096; 0: as many as this process may use; 1: the caller alone */
  int reference;   /* every node by its reference kernel */
  int float64;     /* a float32 model in double, by reference kernels */
  int no_optimize; /* run the graph as it is, on the same kernels */
  int exact_conv; /* each sum of a convolution by its own products alone, never by Winograd's algorithm, whose
                     errors follow the largest input nearby, and where NaN and infinity spread over a tile
                     and into groups that share a block of 16 channels, nor, where weights are a windowed
                     Fourier basis, by a fast transform */
  size_t max_memory; /* bytes that the session may hold; 0: the default */
  int64_t max_steps; /* loop trips of one run; 0: the default of a million */
  int profile;       /* keep times of each node of the last run */
  const char *cpu;   /* at most this instruction set: "ref", "avx2", "avx512"; NULL: the best, or what the
                        environment variable INFOLD_CPU says, which bounds the others too */
  infold_pool *pool; /* its threads instead of the session's own; NULL: these */
} infold_session_options;

INFOLD_API infold_status infold_create_session(infold_error *err, infold_session **out,
                                               const infold_model *model,
                                               const infold_session_options *options);
INFOLD_API void infold_destroy_session(infold_session *session);
/* Inputs and outputs of the model, in its order; i is below their number. */
INFOLD_API int infold_get_n_inputs(const infold_session *session);
INFOLD_API int infold_get_n_outputs(const infold_session *session);
INFOLD_API const char *infold_get_input_name(const infold_session *session, int i);
INFOLD_API const char *infold_get_output_name(const infold_session *session, int i);
INFOLD_API const char *infold_get_input_type(const infold_session *session, int i); /* "float[N,3,224,224]" */
INFOLD_API const char *infold_get_output_type(const infold_session *session, int i);
/* Whether the model has a value for the input, or its type is optional: then it need not be given. */
INFOLD_API int infold_input_has_default(const infold_session *session, int i);
/* inputs: one for each input, NULL where the model's default shall serve; borrowed. Sizes that contradict
 * each other under one name of a free dimension (dim_param) run a second session, which does without the
 * names; BAD_INPUT if that does not take them either. outputs: room for one pointer for each output; where
 * wanted is not NULL, outputs whose wanted[i] is 0 stay NULL. The caller destroys them. */
INFOLD_API infold_status infold_run(infold_error *err, infold_value **outputs, const infold_session *session,
                                    const infold_value *const *inputs, const char *wanted);
/* The last profiled run: format "table" (by node and by operator), "roofline" (the same with shares of the
 * float32 multiply-adds or the memory reads a second, whichever is more, that this machine is measured to be
 * able to do then with the session's threads: some 50 ms) or "trace" (Chrome's trace events). */
INFOLD_API infold_status infold_format_profile(infold_error *err, char **out, const infold_session *session,
                                               const char *format, int width);
/* Bytes that a run with these inputs (as infold_run takes them) holds at most besides packed weights, or 0
 * where shapes depend on data. */
INFOLD_API infold_status infold_get_peak_memory(infold_error *err, size_t *out, const infold_session *session,
                                                const infold_value *const *inputs);

/* Reads inputs from a folder of input_0.pb …, or an .npz archive of nothing but arrays by the names of
 * inputs, into values[n_inputs], for the caller to destroy (NULL where not given, and all on failure). */
INFOLD_API infold_status infold_read_inputs(infold_error *err, infold_value **values,
                                            const infold_session *session, const char *path);
/* Writes output_0.pb … of the kinds the model declares into a folder (made if missing), or an .npz file. NULL
 * values are left out. */
INFOLD_API infold_status infold_write_outputs(infold_error *err, infold_value *const *values,
                                              const infold_session *session, const char *path);

/* ---- verifying ---- */

typedef struct infold_verify_options {
  const char *inputs;     /* folder or .npz as infold_read_inputs takes it, or NULL for random ones */
  const int64_t *batches; /* numbers to put for a free first dimension */
  int n_batches;          /* 0: 1 and 3 */
  uint64_t seed;          /* of random inputs */
  double tolerance;       /* float outputs may differ by this times the output's largest magnitude; 0: 1e-4 */
  int threads;            /* of each session, as in infold_session_options */
  size_t max_memory;      /* of each session; 0: the default */
  double max_seconds;     /* give up with LIMIT after about this time; 0: no limit */
  int measure; /* of a report: also run the first model in double and keep how far both are from that, for a
                  certificate */
} infold_verify_options;

/* Runs both models on the same inputs. DIFFERS names the first output and element that differ; *out (may be
 * NULL) gets a table of the worst difference of each output. */
INFOLD_API infold_status infold_verify_models(infold_error *err, char **out, const infold_model *a,
                                              const infold_model *b, const infold_verify_options *options);
/* The same for a report's model before and after; the outcome becomes part of the report. */
INFOLD_API infold_status infold_verify_report(infold_error *err, infold_report *report,
                                              const infold_verify_options *options);

/* Writes what is known of an optimization as JSON, so that others can check it: SHA-256 of the files of both
 * models and of their external data, passes and their rewrites, inputs tried, and the worst error of each
 * output of the original and of the optimized model against the original run in double. The report must have
 * been verified with `measure`; the paths are those of the model that was loaded and of the optimized one as
 * it was saved, which is read again. */
INFOLD_API infold_status infold_write_certificate(infold_error *err, const infold_report *report,
                                                  const char *path, const char *original,
                                                  const char *optimized);
/* Checks a certificate: the files' hashes, then the errors, by running both again on the same inputs. DIFFERS
 * says what does not hold. original and optimized may be NULL: where the certificate says, as seen from its
 * folder. *out (may be NULL) gets a table. Of the options max_memory, max_seconds and threads count. */
INFOLD_API infold_status infold_verify_certificate(infold_error *err, char **out, const char *path,
                                                   const char *original, const char *optimized,
                                                   const infold_verify_options *options);

/* The promise of same bits, checked on this model: its outputs with 1 to 4 threads, on each instruction set
 * of this machine, and, where the batch is free, of each row alone. DIFFERS says where they differ; *out (may
 * be NULL) what was compared. */
INFOLD_API infold_status infold_verify_bits(infold_error *err, char **out, const infold_model *model,
                                            const infold_verify_options *options);

/* ---- inspecting ---- */

/* what: "summary", "nodes", "weights", "norms", "text" (ONNX's textual syntax), "json" (all of it), "dot"
 * (Graphviz). width in columns; 0: as wide as it takes. */
INFOLD_API infold_status infold_inspect_model(infold_error *err, char **out, const infold_model *model,
                                              const char *what, int width);
/* The operators infold runs (width < 0: as Markdown, with their types), or one of them in detail; the passes
 * of the optimizer, or one. */
INFOLD_API infold_status infold_describe_operators(infold_error *err, char **out, const char *name,
                                                   int width);
INFOLD_API infold_status infold_describe_passes(infold_error *err, char **out, const char *name, int width);

/* ---- BatchNormalization ---- */

typedef enum infold_severity { INFOLD_NOTE, INFOLD_WARNING, INFOLD_ERROR } infold_severity;

/* Examines every BatchNormalization of a model, in subgraphs and functions too: its mode, its statistics
 * channel by channel, and what the optimizer does with it and why (docs/batch_normalization.md has the
 * rules). */
INFOLD_API infold_status infold_diagnose_model(infold_error *err, infold_diagnosis **out,
                                               const infold_model *model);
INFOLD_API void infold_destroy_diagnosis(infold_diagnosis *diagnosis);
INFOLD_API int infold_count_findings(const infold_diagnosis *diagnosis, infold_severity severity);
/* format "table", "json" or "sarif" (SARIF 2.1.0); width in columns for tables (0: as wide as it takes). */
INFOLD_API infold_status infold_format_diagnosis(infold_error *err, char **out,
                                                 const infold_diagnosis *diagnosis, const char *format,
                                                 int width);

/* How running statistics come from data. */
typedef enum infold_estimate {
  INFOLD_EXACT, /* mean and variance of all data together, layer by layer: each is measured behind the earlier
                   ones as they are by then */
  INFOLD_AVERAGE, /* the average over batches, in each of which every layer normalizes by the batch's
                     statistics */
  INFOLD_MOMENTUM /* the same, old * momentum + new * (1 - momentum) from the model's statistics on */
} infold_estimate;

typedef struct infold_recalibrate_options {
  const char *data; /* an .npz archive with an array for each input, whose first dimension counts samples; or
                       a folder of such archives, or of folders of input_0.pb … (a batch each) */
  int64_t batch;    /* samples at a time, where the model leaves that free; 0: 32 */
  infold_estimate estimate;
  double momentum;     /* the part that is kept, as ONNX has it */
  int sample_variance; /* divide by n - 1, not by n */
  int threads;         /* as in infold_session_options */
  size_t max_memory;   /* bytes to hold; 0: the default. Half of it is for values between layers, which are
                          computed again where they do not fit */
  const char *format;  /* of the report: "table" (or NULL), "json" */
  int width;           /* of tables, in columns; 0: as wide as it takes */
  void (*progress)(void *context, const char *text); /* told what is being done; or NULL */
  void *progress_context;
} infold_recalibrate_options;

/* A model with the running statistics of BatchNormalization that its inputs' data has; nothing else changes.
 * Layers in subgraphs, and those whose statistics are no constants, stay; *report (may be NULL) says so, and
 * how far the others moved. UNSUPPORTED when there is none to measure. */
INFOLD_API infold_status infold_recalibrate_model(infold_error *err, infold_model **out, char **report,
                                                  const infold_model *model,
                                                  const infold_recalibrate_options *options);

#ifdef __cplusplus
}
#endif
#endif
