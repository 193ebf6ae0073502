/* NonMaxSuppression. */
#include "ops/shared/move.h"
#include "base/vec.h"
#include <string.h>

typedef struct box {
  float low[2], high[2], area;
} box;

typedef struct request {
  int64_t n_batches, n_classes, n_boxes;
  int64_t most; /* boxes to select of each class */
  float iou;
  bool has_least;
  float least; /* scores must be above */
  const float *boxes, *scores;
} request;

typedef IFD_VEC(int64_t) selection; /* batch, class, box of each */

/* ---- reading ---- */

/* Whether an optional scalar is there. */
static bool has_one(const ifd_eval *x, int i) {
  return ifd_eval_has(x, i) && ifd_tensor_count(ifd_eval_in(x, i)) > 0;
}

static ifd_status read_request(ifd_eval *x, request *r) {
  const ifd_shape *b = &ifd_eval_in(x, 0)->shape, *s = &ifd_eval_in(x, 1)->shape;
  char tb[256], ts[256];
  EXPECT(x->err,
         b->rank == 3 && s->rank == 3 && b->dim[0] == s->dim[0] && b->dim[1] == s->dim[2] && b->dim[2] == 4,
         BAD_INPUT, "boxes of shape %s and scores of shape %s do not belong together",
         ifd_shape_text(b, tb, sizeof tb), ifd_shape_text(s, ts, sizeof ts));
  r->n_batches = s->dim[0];
  r->n_classes = s->dim[1];
  r->n_boxes = s->dim[2];
  r->most = has_one(x, 2) ? ifd_tensor_get_i64(ifd_eval_in(x, 2), 0) : 0;
  r->iou = has_one(x, 3) ? (float)ifd_tensor_get_f64(ifd_eval_in(x, 3), 0) : 0;
  r->has_least = has_one(x, 4);
  r->least = r->has_least ? (float)ifd_tensor_get_f64(ifd_eval_in(x, 4), 0) : 0;
  TRY(ifd_eval_f32(x, &r->boxes, 0));
  return ifd_eval_f32(x, &r->scores, 1);
}

/* Any two opposite corners, or a center and the sizes. */
static box read_box(const float *p, bool center) {
  box b;
  for (int i = 0; i < 2; i++) {
    float from = center ? p[i] - p[i + 2] / 2 : p[i], to = center ? p[i] + p[i + 2] / 2 : p[i + 2];
    b.low[i] = center || from < to ? from : to;
    b.high[i] = center || from < to ? to : from;
  }
  b.area = (b.high[0] - b.low[0]) * (b.high[1] - b.low[1]);
  return b;
}

/* ---- selecting ---- */

/* Boxes that are kept, in lanes: low and high of either axis, area. */
enum { LANES = 16, FIELDS = 5 };
typedef struct lanes {
  float field[FIELDS][LANES];
} lanes;

static void keep(lanes *kept, int64_t i, const box *b) {
  const float fields[] = {b->low[0], b->low[1], b->high[0], b->high[1], b->area};
  for (int f = 0; f < FIELDS; f++) kept[i / LANES].field[f][i % LANES] = fields[f];
}

/* Whether one of the boxes and a overlap more than `most`. An empty one, as lanes beyond the last are, does
 * not. */
static bool overlaps_one(const box *a, const lanes *boxes, float most) {
  int any = 0;
  for (int k = 0; k < LANES; k++) {
    float low0 = boxes->field[0][k], low1 = boxes->field[1][k], high0 = boxes->field[2][k],
          high1 = boxes->field[3][k], area = boxes->field[4][k];
    low0 = a->low[0] > low0 ? a->low[0] : low0, low1 = a->low[1] > low1 ? a->low[1] : low1;
    high0 = a->high[0] < high0 ? a->high[0] : high0, high1 = a->high[1] < high1 ? a->high[1] : high1;
    float common = (high0 - low0) * (high1 - low1), all = a->area + area - common;
    any |= (high0 > low0) & (high1 > low1) & (common > 0) & (a->area > 0) & (area > 0) & (all > 0) &
           (common / all > most);
  }
  return any;
}

/* Candidates as a heap: the best is first, and taking it leaves the others a heap. Of all the boxes only
 * those up to the last that is kept need an order. */
typedef struct candidate {
  float score;
  int32_t box;
} candidate;

static bool is_better(candidate a, candidate b) {
  return a.score != b.score ? a.score > b.score : a.box < b.box;
}

static void sift_down(candidate *heap, int64_t n, int64_t at) {
  candidate moved = heap[at];
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && is_better(heap[child + 1], heap[child])) child++;
    if (!is_better(heap[child], moved)) break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

static candidate take_best(candidate *heap, int64_t *n) {
  candidate best = heap[0];
  heap[0] = heap[--*n];
  if (*n) sift_down(heap, *n, 0);
  return best;
}

/* Selects boxes of one class of one sample, best score first; of equal scores the earlier box. */
static ifd_status select_class(ifd_eval *x, const request *r, int64_t batch, int64_t class, const box *boxes,
                               candidate *heap, lanes *kept, selection *out) {
  const float *scores = r->scores + (batch * r->n_classes + class) * r->n_boxes;
  int64_t n = 0, n_kept = 0;
  for (int64_t i = 0; i < r->n_boxes; i++)
    if (!r->has_least || scores[i] > r->least) heap[n++] = (candidate){scores[i], (int32_t)i};
  for (int64_t i = n / 2; i-- > 0;) sift_down(heap, n, i);
  while (n > 0 && n_kept < r->most) {
    int32_t best = take_best(heap, &n).box;
    bool suppressed = false;
    for (int64_t k = 0; k < n_kept && !suppressed; k += LANES)
      suppressed = overlaps_one(&boxes[best], &kept[k / LANES], r->iou);
    if (suppressed) continue;
    if (n_kept % LANES == 0) kept[n_kept / LANES] = (lanes){0};
    keep(kept, n_kept++, &boxes[best]);
    EXPECT(x->err, out->n <= INT32_MAX - 3, LIMIT, "too many boxes");
    IFD_PUSH(x->err, x->scratch, out, batch);
    IFD_PUSH(x->err, x->scratch, out, class);
    IFD_PUSH(x->err, x->scratch, out, best);
  }
  return IFD_OK;
}

static ifd_status eval_NonMaxSuppression(ifd_eval *x) {
  request r;
  selection selected = {0};
  candidate *heap;
  box *boxes;
  lanes *kept;
  bool center = ifd_node_int(x->node, "center_point_box", 0);
  TRY(read_request(x, &r));
  EXPECT(x->err, r.n_boxes <= INT32_MAX, LIMIT, "%lld boxes", (long long)r.n_boxes);
  ALLOC(x->err, heap, ifd_new_array(x->scratch, candidate, r.n_boxes));
  ALLOC(x->err, boxes, ifd_new_array(x->scratch, box, r.n_boxes));
  ALLOC(x->err, kept, ifd_new_array(x->scratch, lanes, ifd_ceil_div(r.n_boxes, LANES)));
  for (int64_t batch = 0; batch < r.n_batches && r.most > 0; batch++) {
    for (int64_t i = 0; i < r.n_boxes; i++)
      boxes[i] = read_box(r.boxes + (batch * r.n_boxes + i) * 4, center);
    for (int64_t class = 0; class < r.n_classes; class ++)
      TRY(select_class(x, &r, batch, class, boxes, heap, kept, &selected));
  }
  ifd_tensor *out;
  TRY(ifd_eval_out(x, &out, 0, IFD_INT64, &(ifd_shape){2, {selected.n / 3, 3}}));
  if (selected.n) memcpy(out->data, selected.v, (size_t)selected.n * sizeof *selected.v);
  return IFD_OK;
}

static ifd_status infer_NonMaxSuppression(ifd_infer *x) {
  return ifd_infer_tensor(x, 0, IFD_INT64, 2, (ifd_dim[]){ifd_dim_unknown(x->dims), 3});
}

const ifd_op ifd_ops_detection[] = {{.name = "NonMaxSuppression",
                                     .since = 10,
                                     .infer = infer_NonMaxSuppression,
                                     .eval = eval_NonMaxSuppression},
                                    {0}};
