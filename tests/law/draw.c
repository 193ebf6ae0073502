#include "draw.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next(draw *d) {
  uint64_t z = d->random += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int64_t draw_int(draw *d, int64_t low, int64_t high) {
  return low + (int64_t)(next(d) % (uint64_t)(high - low + 1));
}

bool draw_chance(draw *d, int percent) { return draw_int(d, 1, 100) <= percent; }

/* Small more often than large, so that edges and tails of blocks are met. */
static int64_t size(draw *d, int64_t most) {
  int64_t limit = draw_chance(d, 50) ? (most < 8 ? most : 8) : most;
  return draw_int(d, 1, limit);
}

#define PICK(d, ...)                                                                                         \
  ((const char *const[]){__VA_ARGS__}[draw_int(                                                              \
      d, 0, (int64_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)) - 1)])

/* ---- text ---- */

static void add(char *text, const char *format, va_list args) {
  size_t n = strlen(text);
  if (vsnprintf(text + n, DRAW_TEXT - n, format, args) >= (int)(DRAW_TEXT - n)) abort();
}

static void put(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(char *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  add(text, format, args);
  va_end(args);
}

typedef struct name {
  char s[16];
} name;

static name fresh(draw *d, char letter) {
  name n;
  snprintf(n.s, sizeof n.s, "%c%d", letter, d->n_names++);
  return n;
}

/* A constant of floats, as text/parse knows it: "random SEED", "splat VALUE" or "{1, 2}". */
static name constant(draw *d, const char *content, int rank, const int64_t *dim) {
  name n = fresh(d, 'c');
  put(d->constants, "%s float", d->n_constants++ ? "," : "");
  for (int i = 0; i < rank; i++) put(d->constants, "%c%lld", i ? ',' : '[', (long long)dim[i]);
  put(d->constants, "%s %s = %s\n", rank ? "]" : "", n.s, content);
  return n;
}

#define DIMS(...)                                                                                            \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

/* A few are denormal, as trained ones that decay has shrunk. */
static name weight(draw *d, int rank, const int64_t *dim) {
  char content[40];
  if (draw_chance(d, 4))
    snprintf(content, sizeof content, "splat 1.5e-39");
  else
    snprintf(content, sizeof content, "random %d", (int)draw_int(d, 1, 1000000));
  return constant(d, content, rank, dim);
}

static name ints(draw *d, int n, const int64_t *v) {
  name c = fresh(d, 'c');
  put(d->constants, "%s int64[%d] %s = {", d->n_constants++ ? "," : "", n, c.s);
  for (int i = 0; i < n; i++) put(d->constants, "%s%lld", i ? ", " : "", (long long)v[i]);
  put(d->constants, "}\n");
  return c;
}

/* The chain goes on with a node over it: "Op<attributes>(%s, …)" in printf's words, %s being `at`. */
static void node(draw *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void node(draw *d, const char *format, ...) {
  va_list args;
  name out = fresh(d, 'v');
  put(d->nodes, "  %s = ", out.s);
  va_start(args, format);
  add(d->nodes, format, args);
  va_end(args);
  put(d->nodes, "\n");
  snprintf(d->at, sizeof d->at, "%s", out.s);
}

static void set_shape(draw *d, int rank, const int64_t *dim) {
  d->rank = rank;
  for (int i = 0; i < rank; i++) d->dim[i] = dim[i];
}

/* The input x: [N, dims…]. */
static void input(draw *d, int rank, const int64_t *dim) {
  set_shape(d, rank, dim);
  d->x_rank = rank;
  memcpy(d->x_dim, d->dim, sizeof d->dim);
  strcpy(d->at, "x");
}

static void put_list(char *text, const char *attr, int n, const int64_t *v) {
  put(text, "%s = [", attr);
  for (int i = 0; i < n; i++) put(text, "%s%lld", i ? ", " : "", (long long)v[i]);
  put(text, "]");
}

static double count(int n, const int64_t *v) {
  double p = 1;
  for (int i = 0; i < n; i++) p *= (double)v[i];
  return p;
}

/* ---- windows: convolutions and pools ---- */

typedef struct window {
  int n;
  int64_t in[3], kernel[3], stride[3], dilation[3], pad[6];
} window;

static int64_t out_of(const window *w, int i) {
  return (w->in[i] + w->pad[i] + w->pad[i + w->n] - (w->kernel[i] - 1) * w->dilation[i] - 1) / w->stride[i] +
         1;
}

/* Kernels fit into the padded image. */
static window draw_window(draw *d, bool dilated) {
  window w = {.n = (int)(draw_chance(d, 60) ? 2 : draw_int(d, 1, 3))};
  int64_t side = w.n == 1 ? 120 : w.n == 2 ? 36 : 11;
  bool square = draw_chance(d, 60);
  for (int i = 0; i < w.n; i++) {
    bool same = square && i;
    w.kernel[i] = same ? w.kernel[0] : draw_chance(d, 40) ? 3 : draw_chance(d, 40) ? 1 : draw_int(d, 1, 7);
    w.stride[i] = same ? w.stride[0] : draw_chance(d, 60) ? 1 : draw_int(d, 1, 4);
    w.dilation[i] = same ? w.dilation[0] : dilated && draw_chance(d, 20) ? draw_int(d, 2, 3) : 1;
    int64_t span = (w.kernel[i] - 1) * w.dilation[i];
    w.pad[i] = draw_chance(d, 50) ? w.kernel[i] / 2 : draw_int(d, 0, w.kernel[i] - 1);
    w.pad[i + w.n] = draw_chance(d, 70) ? w.pad[i] : draw_int(d, 0, w.kernel[i] - 1);
    w.in[i] = span + size(d, side);
  }
  return w;
}

static void put_window(char *text, const window *w, bool dilated) {
  put_list(text, "kernel_shape", w->n, w->kernel);
  put(text, ", ");
  put_list(text, "strides", w->n, w->stride);
  put(text, ", ");
  if (dilated) {
    put_list(text, "dilations", w->n, w->dilation);
    put(text, ", ");
  }
  put_list(text, "pads", 2 * w->n, w->pad);
}

static void image(draw *d, int64_t channels, const window *w) {
  int64_t dim[DRAW_RANK] = {channels, w->in[0], w->in[1], w->in[2]};
  input(d, 1 + w->n, dim);
}

static void conv_over(draw *d, const window *w, int64_t groups, int64_t in, int64_t out) {
  char attrs[DRAW_TEXT] = "";
  int64_t dim[5] = {out, in / groups, w->kernel[0], w->kernel[1], w->kernel[2]}, shape[4] = {out};
  put_window(attrs, w, true);
  name weights = weight(d, 2 + w->n, dim);
  for (int i = 0; i < w->n; i++) shape[1 + i] = out_of(w, i);
  d->work += count(2 + w->n, dim) * count(w->n, shape + 1);
  if (draw_chance(d, 60))
    node(d, "Conv<group = %d, %s>(%s, %s, %s)", (int)groups, attrs, d->at, weights.s, weight(d, DIMS(out)).s);
  else
    node(d, "Conv<group = %d, %s>(%s, %s)", (int)groups, attrs, d->at, weights.s);
  set_shape(d, 1 + w->n, shape);
}

static void conv(draw *d) {
  window w = draw_window(d, true);
  int64_t groups = 1, per_in = size(d, 40), per_out = size(d, 70);
  if (draw_chance(d, 25))
    groups = size(d, 40), per_in = 1, per_out = draw_chance(d, 70) ? 1 : draw_int(d, 2, 3);
  else if (draw_chance(d, 25))
    groups = draw_int(d, 2, 5), per_in = size(d, 20), per_out = size(d, 20);
  image(d, groups * per_in, &w);
  conv_over(d, &w, groups, groups * per_in, groups * per_out);
}

static void conv_transpose(draw *d) {
  char attrs[DRAW_TEXT] = "";
  window w = draw_window(d, true);
  int64_t groups = draw_chance(d, 70) ? 1 : draw_int(d, 2, 4), in = groups * size(d, 24), out = size(d, 24);
  int64_t shape[4] = {groups * out};
  for (int i = 0; i < w.n; i++) {
    w.in[i] = size(d, w.n == 3 ? 6 : 14) + 1;
    int64_t span = (w.in[i] - 1) * w.stride[i] + (w.kernel[i] - 1) * w.dilation[i] + 1;
    if (w.pad[i] + w.pad[i + w.n] >= span) w.pad[i] = w.pad[i + w.n] = 0;
    shape[1 + i] = span - w.pad[i] - w.pad[i + w.n];
  }
  int64_t dim[5] = {in, out, w.kernel[0], w.kernel[1], w.kernel[2]};
  image(d, in, &w);
  put_window(attrs, &w, true);
  d->work += count(2 + w.n, dim) * count(w.n, w.in);
  node(d, "ConvTranspose<group = %d, %s>(%s, %s)", (int)groups, attrs, d->at, weight(d, 2 + w.n, dim).s);
  set_shape(d, 1 + w.n, shape);
}

static void pool(draw *d) {
  char attrs[DRAW_TEXT] = "";
  window w = draw_window(d, false);
  const char *op = PICK(d, "MaxPool", "AveragePool", "LpPool");
  int64_t shape[4] = {size(d, 40)};
  image(d, shape[0], &w);
  put_window(attrs, &w, false);
  for (int i = 0; i < w.n; i++) shape[1 + i] = out_of(&w, i);
  if (op[0] == 'A') put(attrs, ", count_include_pad = %d", draw_chance(d, 50));
  node(d, "%s<%s>(%s)", op, attrs, d->at);
  set_shape(d, 1 + w.n, shape);
}

/* ---- matrices ---- */

static void gemm(draw *d) {
  int64_t k = size(d, 300), n = size(d, 200);
  bool transposed = draw_chance(d, 50);
  input(d, DIMS(k));
  name w = transposed ? weight(d, DIMS(n, k)) : weight(d, DIMS(k, n));
  name b = draw_chance(d, 50) ? weight(d, DIMS(n)) : weight(d, DIMS(1, 1));
  node(d, "Gemm<transB = %d, alpha = %s, beta = %s>(%s, %s, %s)", transposed, PICK(d, "1.0", "0.5"),
       PICK(d, "1.0", "0.25"), d->at, w.s, b.s);
  d->work += (double)(k * n);
  set_shape(d, DIMS(n));
}

static void matmul(draw *d) {
  int64_t m = size(d, 60), k = size(d, 130), n = size(d, 100), heads = draw_int(d, 1, 4);
  bool square = draw_chance(d, 30), many = draw_chance(d, 50);
  if (many)
    input(d, DIMS(heads, m, k));
  else
    input(d, DIMS(m, k));
  if (square) { /* x and its transpose, both of them of the batch */
    name t = fresh(d, 't');
    put(d->nodes, "  %s = Transpose<perm = [%s]>(x)\n", t.s, many ? "0, 1, 3, 2" : "0, 2, 1");
    node(d, "MatMul(x, %s)", t.s);
    n = m;
  } else
    node(d, "MatMul(x, %s)", weight(d, DIMS(k, n)).s);
  d->work += (double)(m * k * n * (many ? heads : 1));
  if (many)
    set_shape(d, DIMS(heads, m, n));
  else
    set_shape(d, DIMS(m, n));
}

static void attention(draw *d) {
  int64_t heads = draw_int(d, 1, 4), m = size(d, draw_chance(d, 30) ? 150 : 40), k = size(d, 40);
  bool masked = draw_chance(d, 50);
  name seen = fresh(d, 's');
  input(d, DIMS(heads, m, k));
  if (masked)
    put(d->nodes, "  %s = Less(%s, %s)\n", seen.s, weight(d, DIMS(draw_chance(d, 50) ? m : 1, m)).s,
        constant(d, PICK(d, "{0.1}", "{-0.1}"), 0, NULL).s);
  if (draw_chance(d, 50)) {
    node(d, "Attention<is_causal = %d>(x, x, x%s%s)", draw_chance(d, 50), masked ? ", " : "",
         masked ? seen.s : "");
  } else {
    node(d, "Transpose<perm = [0, 1, 3, 2]>(x)");
    node(d, "MatMul(x, %s)", d->at);
    node(d, "Mul(%s, %s)", d->at, constant(d, "{0.125}", 0, NULL).s);
    if (masked) node(d, "Where(%s, %s, %s)", seen.s, d->at, constant(d, "{-3e38}", 0, NULL).s);
    node(d, "Softmax<axis = -1>(%s)", d->at);
    node(d, "MatMul(%s, x)", d->at);
  }
  d->work += 2.0 * (double)(heads * m * m * k);
}

static void recurrent(draw *d) {
  const char *op = PICK(d, "LSTM", "GRU", "RNN"), *direction = PICK(d, "forward", "reverse", "bidirectional");
  int64_t gates = op[0] == 'L' ? 4 : op[0] == 'G' ? 3 : 1, dirs = direction[0] == 'b' ? 2 : 1;
  int64_t t = draw_int(d, 1, 7), in = size(d, 40),
          hidden = draw_chance(d, 15) ? draw_int(d, 257, 300) : size(d, 40); /* more than a chain of fmas */
  input(d, DIMS(t, in));
  node(d, "Transpose<perm = [1, 0, 2]>(x)");
  name w = weight(d, DIMS(dirs, gates * hidden, in)), r = weight(d, DIMS(dirs, gates * hidden, hidden));
  if (op[0] == 'G')
    node(d, "GRU<hidden_size = %d, direction = \"%s\", linear_before_reset = %d>(%s, %s, %s)", (int)hidden,
         direction, draw_chance(d, 50), d->at, w.s, r.s);
  else
    node(d, "%s<hidden_size = %d, direction = \"%s\">(%s, %s, %s, %s)", op, (int)hidden, direction, d->at,
         w.s, r.s, weight(d, DIMS(dirs, 2 * gates * hidden)).s);
  node(d, "Transpose<perm = [2, 0, 1, 3]>(%s)", d->at);
  d->work += (double)(t * dirs * gates * hidden * (in + hidden));
  set_shape(d, DIMS(t, dirs, hidden));
}

/* ---- along axes ---- */

static void any_input(draw *d) {
  int rank = (int)draw_int(d, 1, 4);
  int64_t dim[4];
  for (int i = 0; i < rank; i++) dim[i] = size(d, rank == 1 ? 3000 : rank == 2 ? 90 : 14);
  input(d, rank, dim);
}

static void soft(draw *d) {
  any_input(d);
  node(d, "%s<axis = %d>(%s)", PICK(d, "Softmax", "LogSoftmax", "Hardmax"), (int)draw_int(d, 1, d->rank),
       d->at);
}

static void norm(draw *d) {
  int64_t c = 2 * size(d, 20), h = size(d, 20), w = size(d, 20);
  input(d, DIMS(c, h, w));
  name s = weight(d, DIMS(c)), b = weight(d, DIMS(c));
  switch (draw_int(d, 0, 6)) {
  case 0: node(d, "InstanceNormalization(%s, %s, %s)", d->at, s.s, b.s); break;
  case 1: node(d, "GroupNormalization<num_groups = 2>(%s, %s, %s)", d->at, s.s, b.s); break;
  case 2:
    node(d, "LayerNormalization<axis = -1>(%s, %s, %s)", d->at, weight(d, DIMS(w)).s, weight(d, DIMS(w)).s);
    break;
  case 3: node(d, "LRN<size = %d>(%s)", (int)draw_int(d, 1, 5), d->at); break;
  case 4:
    node(d, "LpNormalization<axis = %d, p = %d>(%s)", (int)draw_int(d, 1, 3), (int)draw_int(d, 1, 2), d->at);
    break;
  case 5: node(d, "RMSNormalization<axis = -2>(%s, %s)", d->at, weight(d, DIMS(h, w)).s); break;
  default: node(d, "MeanVarianceNormalization<axes = [%s]>(%s)", PICK(d, "2, 3", "1, 2, 3"), d->at);
  }
}

static void reduce(draw *d) {
  int64_t axes[4], shape[4];
  int n = 0, left = 0;
  bool keep = draw_chance(d, 50);
  any_input(d);
  for (int i = 0; i < d->rank; i++) {
    bool reduced = draw_chance(d, 50) || (i == d->rank - 1 && !n);
    if (reduced) axes[n++] = i + 1;
    if (!reduced || keep) shape[left++] = reduced ? 1 : d->dim[i];
  }
  node(d, "%s<keepdims = %d>(%s, %s)",
       PICK(d, "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
            "ReduceLogSumExp", "ReduceSumSquare"),
       keep, d->at, ints(d, n, axes).s);
  set_shape(d, left, shape);
}

static void scan(draw *d) {
  any_input(d);
  int axis = (int)draw_int(d, 1, d->rank);
  int64_t k = draw_int(d, 1, d->dim[axis - 1]);
  switch (draw_int(d, 0, 2)) {
  case 0:
    node(d, "CumSum<exclusive = %d, reverse = %d>(%s, %s)", draw_chance(d, 50), draw_chance(d, 50), d->at,
         ints(d, 1, (int64_t[]){axis}).s);
    return;
  case 1:
    node(d, "%s<axis = %d>(%s)", PICK(d, "ArgMax", "ArgMin"), axis, d->at);
    node(d, "Cast<to = 1>(%s)", d->at);
    d->dim[axis - 1] = 1;
    return;
  default:
    put(d->nodes, "  best, where = TopK<axis = %d>(%s, %s)\n", axis, d->at, ints(d, 1, &k).s);
    node(d, "Cast<to = 1>(where)");
    node(d, "Add(best, %s)", d->at);
    d->dim[axis - 1] = k;
  }
}

/* ---- moves ---- */

static void resize(draw *d) {
  const char *mode = PICK(d, "nearest", "linear", "cubic");
  int64_t c = size(d, 20), h = draw_int(d, 2, 14), w = draw_int(d, 2, 14),
          sizes[2] = {size(d, 30), size(d, 30)};
  input(d, DIMS(c, h, w));
  node(d, "Resize<mode = \"%s\", axes = [2, 3], coordinate_transformation_mode = \"%s\">(%s, , , %s)", mode,
       PICK(d, "half_pixel", "asymmetric", "align_corners"), d->at, ints(d, 2, sizes).s);
  set_shape(d, DIMS(c, sizes[0], sizes[1]));
}

static void move(draw *d) {
  int64_t c = 4 * draw_int(d, 1, 6), h = 2 * draw_int(d, 1, 8), w = 2 * draw_int(d, 1, 8);
  input(d, DIMS(c, h, w));
  switch (draw_int(d, 0, 6)) {
  case 0:
    node(d, "Transpose<perm = [0, %s]>(%s)", "3, 1, 2", d->at);
    set_shape(d, DIMS(w, c, h));
    break;
  case 1:
    node(d, "DepthToSpace<blocksize = 2, mode = \"%s\">(%s)", PICK(d, "DCR", "CRD"), d->at);
    set_shape(d, DIMS(c / 4, h * 2, w * 2));
    break;
  case 2:
    node(d, "SpaceToDepth<blocksize = 2>(%s)", d->at);
    set_shape(d, DIMS(c * 4, h / 2, w / 2));
    break;
  case 3:
    node(d, "Gather<axis = 2>(%s, %s)", d->at, ints(d, 3, (int64_t[]){0, h - 1, h / 2}).s);
    set_shape(d, DIMS(c, 3, w));
    break;
  case 4:
    node(d, "Slice(%s, %s, %s, %s, %s)", d->at, ints(d, 2, (int64_t[]){1, w - 1}).s,
         ints(d, 2, (int64_t[]){c, 0}).s, ints(d, 2, (int64_t[]){1, 3}).s, ints(d, 2, (int64_t[]){1, -1}).s);
    set_shape(d, DIMS(c - 1, h, w - 1));
    break;
  case 5:
    node(d, "Pad<mode = \"%s\">(%s, %s)", PICK(d, "constant", "reflect", "edge"), d->at,
         ints(d, 8, (int64_t[]){0, 1, 1, 0, 0, 0, 1, 1}).s);
    set_shape(d, DIMS(c + 1, h + 2, w + 1));
    break;
  default: node(d, "Concat<axis = 1>(%s, %s, %s)", d->at, d->at, d->at); set_shape(d, DIMS(c * 3, h, w));
  }
}

/* ---- what follows: often fused ---- */

static name broadcast(draw *d) {
  int64_t dim[DRAW_RANK];
  int rank = (int)draw_int(d, 0, d->rank);
  for (int i = 0; i < rank; i++) dim[i] = draw_chance(d, 60) ? d->dim[d->rank - rank + i] : 1;
  return weight(d, rank, dim);
}

static void unary(draw *d) {
  node(d, "%s(%s)",
       PICK(d, "Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Elu", "Selu", "Softplus", "Softsign",
            "HardSigmoid", "HardSwish", "Mish", "Gelu", "Erf", "LeakyRelu", "ThresholdedRelu", "Celu", "Sin",
            "Cos", "Atan", "Floor", "Round", "Sign", "Sinh", "Reciprocal"),
       d->at);
}

static void binary(draw *d) {
  const char *op = PICK(d, "Add", "Mul", "Sub", "Div", "Max", "Min", "PRelu");
  char before[16];
  memcpy(before, d->at, sizeof before);
  if (!d->rank || draw_chance(d, 25)) { /* with a branch of its own past */
    unary(d);
    node(d, "%s(%s, %s)", op, d->at, before);
  } else if (draw_chance(d, 70) || op[0] == 'P')
    node(d, "%s(%s, %s)", op, d->at, broadcast(d).s);
  else
    node(d, "%s(%s, %s)", op, broadcast(d).s, d->at);
}

static void clip(draw *d) {
  node(d, "Clip(%s, %s, %s)", d->at, constant(d, "{-0.5}", 0, NULL).s, constant(d, "{0.75}", 0, NULL).s);
}

static void swish(draw *d) {
  char before[16];
  memcpy(before, d->at, sizeof before);
  node(d, "Sigmoid(%s)", d->at);
  node(d, "Mul(%s, %s)", before, d->at);
}

static void choose(draw *d) {
  char before[16];
  memcpy(before, d->at, sizeof before);
  node(d, "Less(%s, %s)", d->at, constant(d, "{0.1}", 0, NULL).s);
  node(d, "Where(%s, %s, %s)", d->at, before, constant(d, "{0.3}", 0, NULL).s);
}

static void quantize(draw *d) {
  name scale = constant(d, "{0.02}", 0, NULL);
  node(d, "QuantizeLinear(%s, %s)", d->at, scale.s);
  node(d, "DequantizeLinear(%s, %s)", d->at, scale.s);
}

static void batch_norm(draw *d) {
  if (d->rank < 2) return;
  int64_t c = d->dim[0];
  node(d, "BatchNormalization(%s, %s, %s, %s, %s)", d->at, weight(d, 1, &c).s, weight(d, 1, &c).s,
       weight(d, 1, &c).s, constant(d, "splat 0.7", 1, &c).s);
}

static void another_conv(draw *d) {
  if (d->rank < 2 || d->rank > 4 || d->dim[0] > 80 || d->work > 2e6) return;
  window w = {.n = d->rank - 1};
  bool pointwise = draw_chance(d, 40);
  for (int i = 0; i < w.n; i++) {
    w.in[i] = d->dim[1 + i];
    w.kernel[i] = pointwise ? 1 : 3;
    w.stride[i] = w.dilation[i] = 1;
    w.pad[i] = w.pad[i + w.n] = !pointwise;
  }
  bool depthwise = draw_chance(d, 30);
  conv_over(d, &w, depthwise ? d->dim[0] : 1, d->dim[0], depthwise ? d->dim[0] : size(d, 40));
}

static void pool_all(draw *d) {
  if (d->rank < 2 || d->rank > 4) return;
  node(d, "%s(%s)", PICK(d, "GlobalAveragePool", "GlobalMaxPool"), d->at);
  for (int i = 1; i < d->rank; i++) d->dim[i] = 1;
}

typedef struct family {
  const char *name;
  int share;
  void (*make)(draw *d);
} family;

static const family heads[] = {{"conv", 30, conv},
                               {"conv_transpose", 8, conv_transpose},
                               {"pool", 8, pool},
                               {"gemm", 8, gemm},
                               {"matmul", 10, matmul},
                               {"attention", 5, attention},
                               {"recurrent", 6, recurrent},
                               {"softmax", 6, soft},
                               {"norm", 8, norm},
                               {"reduce", 10, reduce},
                               {"scan", 4, scan},
                               {"resize", 5, resize},
                               {"move", 6, move},
                               {"elementwise", 10, any_input},
                               {0}};
static const family tails[] = {{"unary", 30, unary},     {"binary", 30, binary},
                               {"clip", 6, clip},        {"swish", 6, swish},
                               {"choose", 4, choose},    {"quantize", 4, quantize},
                               {"norm", 12, batch_norm}, {"conv", 10, another_conv},
                               {"pool", 3, pool_all},    {0}};

static const family *choose_family(draw *d, const family *table) {
  int all = 0, i = 0;
  for (const family *f = table; f->name; f++) all += f->share;
  for (int64_t at = draw_int(d, 0, all - 1); at >= table[i].share; i++) at -= table[i].share;
  return &table[i];
}

void draw_model(draw *d, uint64_t seed) {
  *d = (draw){.random = seed};
  const family *head = choose_family(d, heads);
  d->family = head->name;
  head->make(d);
  int n_tails = (int)(draw_chance(d, 30) ? 0 : draw_int(d, 1, 4));
  for (; n_tails > 0 || strcmp(d->at, "x") == 0; n_tails--) choose_family(d, tails)->make(d);
  put(d->text, "<ir_version: 11, opset_import: [\"\" : 23]>\ng (float[N");
  for (int i = 0; i < d->x_rank; i++) put(d->text, ",%lld", (long long)d->x_dim[i]);
  put(d->text, "] x) => (%s)\n<%s>\n{\n%s}\n", d->at, d->constants, d->nodes);
}
