/* Which algorithm a convolution takes and how it splits: from the shape alone, the same for every ISA. */
#include <math.h>

#include "kernels/conv/band.h"
#include "kernels/conv/line.h"
#include "kernels/conv/phase.h"
#include "kernels/conv/winograd.h"
#include "kernels/conv/winograd_line.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/product.h"
#include "kernels/launch.h"

enum { MAX_PHASES = 64, MAX_FIRST_CHANNELS = 15, MAX_FIRST_STEPS = 4096 };

/* ---- choice ---- */

/* Nothing that is computed from the shape reaches 2^60: the largest are bytes of weights transformed, of
 * scratch and numbers of tasks. */
static bool sizes_fit(const ifd_k_conv_shape *s, int64_t batch) {
  double weights = 64.0 * 36 * ((double)s->c + (double)s->before) * ((double)s->m + 16),
         samples = (double)batch * 64 * ((double)s->c + (double)s->m + 32);
  double band = 64 * 64;
  for (int d = 0; d < IFD_K_DIMS; d++) {
    double in = (double)s->in[d], out = (double)s->out[d];
    double reach =
        out * (double)s->stride[d] + (double)s->kernel[d] * (double)s->dilation[d] + (double)s->pad[d] + 64;
    weights *= (double)s->kernel[d];
    samples *= in > out ? in : out;
    band *= reach;
  }
  const double most = 0x1p60;
  return weights < most && samples < most && band * ((double)s->c + 16) < most;
}

/* Reading a vector of weights takes as long as that many products with it, where a sample has few places:
 * those of a network of many layers come from L3 or memory, at some 15 GB/s. */
static const double WEIGHT = 16;
/* A vector of transformed weights that each run makes anew takes 16; the rest is caution: rounding errors
 * grow, and so they do only where much is gained, from some 24×24 places on. */
static const double COMPUTED = 128;

/* What a part's 3×3 convolution takes, in vector operations: products of each plane of weights, of a place
 * directly or of the tiles that take part in it, for each pair of an input channel and a vector of output
 * channels; reading the weights once, which for a sample's few places takes longer; gathering the places'
 * taps; and the transforms of tiles. */
static double direct_cost(const ifd_k_conv_shape *s) {
  const double copy = 2;
  double places = (double)s->out[IFD_K_H] * (double)s->out[IFD_K_W], m = (double)(s->m / s->groups);
  double pairs = (double)s->c * (double)ifd_conv_panels(s, IFD_K_CONV_DIRECT);
  return 9 * (places + WEIGHT + places * copy / m) * pairs;
}
static double winograd_pairs(const ifd_k_conv_shape *s) {
  double pairs = 0;
  for (int64_t b = 0, n, first, end; b < ifd_ceil_div(s->m, 16); b += n) {
    n = ifd_conv_met_blocks(s, b, &first, &end);
    pairs += (double)(ifd_min_i64(end * 16, s->c) - first * 16) * (double)n;
  }
  return pairs;
}
/* Vectors of inputs, whose lanes may be idle in part, for each pair of an input channel and 16 outputs. */
static double inputs_of_pair(const ifd_k_conv_shape *s) {
  return ceil((double)s->c / 16) / (double)s->c / ceil((double)s->m / 16);
}
/* Half weights are fetched while others are multiplied, which hides up to half of the reading; but each one
 * made of them is stored and read again, and sums wait between the segments. That is worth it where not many
 * tiles take part, nor so few that a product is done before the next weights are there, and weights would not
 * stay in L2. However few take part, weights that do not stay there come no faster than `fetch`. */
static double winograd_cost(const ifd_k_conv_shape *s, ifd_k_conv_algo algo, bool computed) {
  enum { LEAST_TILES = 8, MOST_TILES = 36 };
  const double make = 4, wait = 1.15;
  ifd_winograd_sizes z = ifd_winograd_sizes_of(s, algo, 1, ifd_ceil_div(s->m, 16));
  const double transform = z.out == 4 ? 16 * 60 : 16 * 22;
  double planes = (double)z.planes, tiles = (double)z.tiles / (double)s->out[IFD_K_D];
  double pairs = winograd_pairs(s);
  double products = (double)ifd_winograd_points(&z.down) * (double)ifd_winograd_points(&z.across);
  double transforms = tiles * transform / 2 * (ceil((double)s->c / 16) + ceil((double)s->m / 16));
  if (computed) transforms += (double)(z.half ? 3 * z.in : z.planes) * COMPUTED * pairs;
  double vectors = z.half ? 3 * (double)z.in : planes, reading = vectors * WEIGHT;
  double fetch = z.stays ? 0 : vectors * (z.half ? 36 : 30);
  if (!z.half) return fmax(products + reading, fetch) * pairs + transforms;
  if (z.stays || s->groups > 1 || tiles < LEAST_TILES || tiles > MOST_TILES) return INFINITY;
  double work = (products + planes * make) * wait + reading - fmin(reading / 2, products);
  return fmax(work, fetch) * pairs + transforms;
}

/* A 3×3 kernel of stride 1 of enough channels to pay for the transforms: the cheapest way. */
static ifd_k_conv_algo choose_winograd(const ifd_k_conv_shape *s, bool computed, double least,
                                       ifd_k_conv_algo otherwise) {
  for (int d = IFD_K_H; d <= IFD_K_W; d++)
    if (s->kernel[d] != 3 || s->stride[d] != 1) return otherwise;
  static const ifd_k_conv_algo others[] = {IFD_K_CONV_WINOGRAD, IFD_K_CONV_WINOGRAD_2,
                                           IFD_K_CONV_WINOGRAD_HALF, IFD_K_CONV_WINOGRAD_2_HALF};
  ifd_k_conv_algo best = otherwise;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    double cost = winograd_cost(s, others[i], computed);
    if (cost < least) best = others[i], least = cost;
  }
  return best;
}

/* Reading a vector of weights, of so many in all, for each block of rows: few are in L2 from the run before,
 * others in memory; what fits there is read from farther but once. */
static double weight_cost(double n_floats, double rows, double at_once) {
  const double few = 1 << 15, fit = 1 << 18, near = WEIGHT / 4, far = 2 * WEIGHT;
  return (n_floats <= few ? near : far) + (ceil(rows / at_once) - 1) * (n_floats <= fit ? near : WEIGHT);
}

/* Winograd's algorithm along one axis, in the same operations, a little slower in shorter products: those of
 * a tile's transforms and of its loads and stores, of inputs for each tap of the other axes and part. */
static bool suits_winograd_line(const ifd_k_conv_shape *s, bool computed) {
  const double in = 60, out = 60, copy = 2, shorter = 1.05;
  if (ifd_winograd_line_cut_of(s).axis < 0) return false;
  ifd_winograd_line_sizes z = ifd_winograd_line_sizes_of(s, IFD_WINOGRAD_LINE_TILES, ifd_ceil_div(s->m, 16));
  double tiles = (double)z.tiles, taps = (double)z.taps, c = (double)s->c, m = (double)s->m;
  double planes = IFD_WINOGRAD_LINE_POINTS * taps, all_taps = (double)ifd_conv_volume(s->kernel);
  double reading = weight_cost(planes * c * m, tiles, (double)z.at_once);
  if (computed) reading += COMPUTED;
  double cost = planes * (tiles + reading) + tiles * (taps * in * inputs_of_pair(s) + out / c);
  double places = (double)ifd_conv_volume(s->out);
  double direct_reading = weight_cost(all_taps * c * m, places, IFD_PRODUCT_ROWS);
  return shorter * cost < all_taps * (places + direct_reading + places * copy / m);
}

/* By what a part takes. */
static ifd_k_conv_algo choose_product(const ifd_k_conv_shape *s, bool computed) {
  if (!sizes_fit(s, 1) || s->transposed) return IFD_K_CONV_DIRECT;
  const ifd_k_conv_shape part = ifd_conv_part(s, 0);
  ifd_k_conv_algo algo = choose_winograd(&part, computed, direct_cost(&part), IFD_K_CONV_DIRECT);
  if (algo != IFD_K_CONV_DIRECT || part.groups > 1) return algo;
  return suits_winograd_line(&part, computed) ? IFD_K_CONV_WINOGRAD_LINE : IFD_K_CONV_DIRECT;
}

/* Lanes: each product takes the time of two, and of more where lanes come from several blocks. */
static ifd_k_conv_algo choose_lanes(const ifd_k_conv_shape *s, ifd_k_conv_wish wish) {
  if (s->groups == s->c && s->groups == s->m) return IFD_K_CONV_DEPTHWISE;
  if (!sizes_fit(s, 1) || s->transposed || wish.exact) return IFD_K_CONV_GROUPED;
  const ifd_k_conv_shape part = ifd_conv_part(s, 0);
  double places = (double)s->out[IFD_K_H] * (double)s->out[IFD_K_W], c = (double)(s->c / s->groups);
  double lanes = 2 * 9 * places * c * ceil((double)part.m / 16);
  return choose_winograd(&part, wish.computed, lanes, IFD_K_CONV_GROUPED);
}

/* A tile is of some outputs side by side: lines so short that half of it is idle are worth it only where
 * blocks of channels would be mostly idle, too. */
static bool suits_first(const ifd_k_conv_shape *s) {
  int64_t width = s->out[IFD_K_W];
  return s->groups == 1 && !s->transposed && s->c <= MAX_FIRST_CHANNELS && (s->c <= 4 || width >= 7) &&
         s->c * ifd_conv_volume(s->kernel) <= MAX_FIRST_STEPS;
}

/* Few channels, read as they lie. What a place takes, in vector operations: the products, of tiles that are
 * idle in part where a line is shorter than the least, and the copy of x, element by element where the
 * stride is no step of a tile; or the products, and its window in pieces of a line of the kernel. Channels in
 * blocks have idle lanes. */
static double first_cost(const ifd_k_conv_shape *s, double products) {
  const double element = 2.5, least = IFD_CONV_FIRST_LEAST;
  ifd_conv_band band = ifd_conv_band_first(s, 1);
  double width = (double)s->out[IFD_K_W];
  double copied = (double)band.planes * (double)s->stride[IFD_K_H] * (double)ifd_conv_band_line(&band);
  if (band.phases == 1) copied = 0;
  return (products * fmax(width, least) + copied * element) / width;
}
static double frames_cost(const ifd_k_conv_shape *s, double products) {
  const double piece = 8;
  int64_t line = s->kernel[IFD_K_W], taps = s->c * ifd_conv_volume(s->kernel);
  int64_t parted = line % 16 ? ifd_ceil_div(taps, 16) : 0; /* by segments */
  return products + piece * (double)(taps / line * ifd_ceil_div(line, 16) + parted);
}
static bool suits_frames(const ifd_k_conv_shape *s) {
  if (s->groups != 1 || s->transposed || s->c > MAX_FIRST_CHANNELS || s->dilation[IFD_K_W] != 1) return false;
  double taps = (double)ifd_conv_volume(s->kernel) * ceil((double)s->m / 16), products = (double)s->c * taps;
  return frames_cost(s, products) < (suits_first(s) ? first_cost(s, products) : 16 * taps);
}

/* Groups that are no whole blocks fill the lanes of a product only in part; of too few channels, it is
 * cheaper to spread each input channel over the lanes that read it, the more so where many taps meet a
 * place. */
static bool suits_product(const ifd_k_conv_shape *s) {
  double met = 1, m = (double)(s->m / s->groups);
  for (int d = 0; d < IFD_K_DIMS; d++) met *= (double)s->kernel[d] / (double)s->stride[d];
  return ifd_conv_n_phases(s) <= MAX_PHASES && (ifd_conv_whole_blocks(s) || m >= fmin(16, 7 + met));
}

/* Whether all phases as columns of one product take no more vector operations, for each place and input
 * channel, than one product for each, or than lanes; with no more than four times the weights. */
static bool suits_boxes(const ifd_k_conv_shape *s) {
  double m = (double)s->m / (double)s->groups, taps = 1, box_taps = 1, phases = 1;
  for (int d = 0; d < IFD_K_DIMS; d++) {
    taps *= (double)s->kernel[d], phases *= (double)s->stride[d];
    box_taps *= (double)ifd_conv_box_taps(s, d);
  }
  double lanes = taps * ceil((double)s->m / 16) / (double)s->groups;
  double apart = suits_product(s) ? taps * ceil(m / 16) : lanes;
  return s->transposed && phases * box_taps <= 4 * taps && box_taps * ceil(m * phases / 16) <= apart;
}

ifd_k_conv_algo ifd_k_conv_choose(const ifd_k_conv_shape *s, ifd_k_conv_wish wish) {
  if (wish.plain_output) return s->transposed ? IFD_K_CONV_PHASES_OUT : IFD_K_CONV_PLANAR;
  if (wish.plain_input && suits_frames(s)) return IFD_K_CONV_FRAMES;
  if (wish.plain_input && suits_first(s)) return IFD_K_CONV_FIRST;
  if (suits_boxes(s)) return IFD_K_CONV_PHASES;
  if (suits_product(s)) return wish.exact ? IFD_K_CONV_DIRECT : choose_product(s, wish.computed);
  return choose_lanes(s, wish);
}

const char *ifd_k_conv_algo_name(ifd_k_conv_algo algo) {
  static const char *const names[IFD_K_N_CONV_ALGOS] = {[IFD_K_CONV_DIRECT] = "direct",
                                                        [IFD_K_CONV_WINOGRAD] = "winograd 4x4",
                                                        [IFD_K_CONV_WINOGRAD_2] = "winograd 2x2",
                                                        [IFD_K_CONV_WINOGRAD_HALF] = "winograd 4x4 half",
                                                        [IFD_K_CONV_WINOGRAD_2_HALF] = "winograd 2x2 half",
                                                        [IFD_K_CONV_WINOGRAD_LINE] = "winograd line",
                                                        [IFD_K_CONV_DEPTHWISE] = "depthwise",
                                                        [IFD_K_CONV_EXPANDED] = "expanded",
                                                        [IFD_K_CONV_GROUPED] = "grouped",
                                                        [IFD_K_CONV_PHASES] = "phases",
                                                        [IFD_K_CONV_PHASES_OUT] = "phases",
                                                        [IFD_K_CONV_FRAMES] = "frames",
                                                        [IFD_K_CONV_FIRST] = "first",
                                                        [IFD_K_CONV_PLANAR] = "planar"};
  return names[algo];
}

/* ---- split ---- */

/* A task is some three microseconds of vector operations; tiles of products have two panels or four. */
static const double TASK = 1 << 14;
enum { PANELS = 2, LEAST_LINES = 7, ENOUGH_TASKS = 4, ONE_TILE = 14 };

/* One thread has one task: the ends of several cost it some percents. */
static int64_t tasks_worth(const ifd_k_conv_plan *p, double work, double task) {
  return p->threads == 1 ? 1 : ifd_tasks_worth(work, task);
}

static void split_rows(ifd_k_conv_plan *p, int64_t n, int64_t tasks) {
  p->n_rows = n;
  p->row_tasks = ifd_max_i64(1, ifd_min_i64(n, tasks));
  p->rows = ifd_ceil_div(n, p->row_tasks);
}

/* By blocks that tiles take together. */
static void split_blocks(ifd_k_conv_plan *p, int64_t n, int64_t tasks, int64_t unit) {
  int64_t units = ifd_ceil_div(n, unit);
  p->n_blocks = n;
  p->block_tasks = ifd_max_i64(1, ifd_min_i64(units, tasks));
  p->block_unit = unit;
  p->blocks = ifd_min_i64(n, ifd_ceil_div(units, p->block_tasks) * unit);
}

/* Places of the largest phase along an axis. */
static int64_t most_places(const ifd_k_conv_shape *s, int d) {
  return s->transposed ? ifd_ceil_div(s->out[d], s->stride[d]) : s->out[d];
}

/* ---- the algorithms ---- */

/* Threads part by rows where both read less so: the weights twice, instead of all that rows read and write.
 */
static void plan_product(ifd_k_conv_plan *p, int64_t places, int64_t taps) {
  const ifd_k_conv_shape *s = &p->shape;
  int64_t c = s->c / s->groups, m = ifd_conv_product_columns(s, p->algo);
  p->spans_batch = places == 1 && !s->transposed;
  int64_t n_rows = p->spans_batch ? p->batch : places;
  ifd_k_gemm_grid grid = ifd_k_gemm_split(n_rows, m, c * taps, true, p->threads);
  int64_t block_tasks = grid.n_tasks / grid.n_m;
  bool cheap = taps == 1 && n_rows > ONE_TILE; /* nothing is packed, weights are read for some rows */
  if (grid.n_tasks > 1 && cheap) block_tasks = ifd_max_i64(block_tasks, ENOUGH_TASKS / grid.n_m);
  split_rows(p, n_rows, grid.n_m);
  split_blocks(p, ifd_conv_panels(s, p->algo), block_tasks, PANELS);
  p->rows_first = grid.n_m > 1 && (double)m * (double)(c * taps) < (double)n_rows * (double)(m + c);
  int64_t segments = ifd_ceil_div(c, 16) * taps + 1; /* one where a group begins at a lane */
  p->scratch_len =
      ifd_product_scratch_of(p->rows, p->blocks * 16, c * taps, segments, IFD_K_B_PACKED, s->transposed).len;
  p->packed_len = sizeof(float) * 16 * (size_t)(s->c * taps * p->n_blocks);
}

static void plan_direct(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape *s = &p->shape;
  int64_t places = 1;
  for (int d = 0; d < IFD_K_DIMS; d++) places *= most_places(s, d);
  p->n_parts = s->groups * ifd_conv_n_phases(s);
  plan_product(p, places, ifd_conv_volume(s->kernel));
  if (ifd_conv_is_line(s)) p->scratch_len = ifd_round_64(p->scratch_len) + ifd_conv_strip_of(s, p->rows).len;
}

static void plan_frames(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape *s = &p->shape;
  int64_t k = s->c * ifd_conv_volume(s->kernel), places = ifd_conv_volume(s->out);
  ifd_k_gemm_grid grid = ifd_k_gemm_split(places, s->m, k, true, p->threads);
  p->n_parts = 1;
  split_rows(p, places, grid.n_m);
  split_blocks(p, ifd_ceil_div(s->m, 16), grid.n_tasks / grid.n_m, PANELS);
  p->scratch_len =
      ifd_product_scratch_of(p->rows, p->blocks * 16, k, ifd_ceil_div(k, 16), IFD_K_B_PACKED, false).len;
  p->packed_len = sizeof(float) * 16 * (size_t)(k * p->n_blocks);
}

static void plan_boxes(ifd_k_conv_plan *p) {
  ifd_conv_phase boxes = ifd_conv_boxes(&p->shape);
  p->n_parts = p->shape.groups;
  plan_product(p, boxes.n_places, boxes.n_taps);
}

static size_t winograd_scratch(const ifd_k_conv_plan *p, int64_t part) {
  ifd_k_conv_plan one = *p;
  one.shape = ifd_conv_part(&p->shape, part);
  ifd_winograd_sizes z = ifd_winograd_sizes_of_plan(&one);
  return ifd_round_64(sizeof(int64_t) * (size_t)z.segments) +
         (p->n_before ? 0 : ifd_winograd_inputs_len(&z)) +
         sizeof(float) * (size_t)(ifd_winograd_products(&z) + ifd_winograd_made(&z));
}

static void plan_winograd(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape part = ifd_conv_part(&p->shape, 0), *s = &part;
  int64_t blocks = ifd_ceil_div(s->m, 16);
  int64_t tiles = p->batch * ifd_winograd_sizes_of(s, p->algo, 1, blocks).tiles;
  ifd_winograd_sizes all = ifd_winograd_sizes_of(s, p->algo, tiles, blocks);
  double tile_work = (double)all.planes * (double)all.steps * (double)blocks;
  int64_t tasks = tasks_worth(p, tile_work * ((double)tiles + WEIGHT), TASK);
  p->spans_batch = true;
  p->n_parts = ifd_conv_n_parts(&p->shape);
  /* Every task of rows reads all its weights, every task of blocks transforms all its inputs, unless these
   * fit in shared memory: few of each. */
  bool shares = !all.stays && all.at_once == tiles && p->n_parts == 1;
  int64_t least_tiles = all.stays ? 24 : 56;
  split_rows(p, tiles, shares ? 1 : ifd_min_i64(tasks, tiles / least_tiles));
  int64_t block_tasks = ifd_min_i64(ifd_ceil_div(ifd_min_i64(tasks, 4), p->row_tasks), blocks / 4);
  split_blocks(p, blocks, block_tasks, 1);
  if (shares) p->n_before = ifd_min_i64(p->block_tasks, all.segments);
  ifd_winograd_sizes z = ifd_winograd_sizes_of_plan(p);
  p->shared_len = shares ? ifd_winograd_inputs_len(&z) : 0;
  p->scratch_len = winograd_scratch(p, 0);
  if (p->n_parts > 1) { /* of fewer channels there are more tiles at once */
    size_t last = winograd_scratch(p, p->n_parts - 1);
    if (last > p->scratch_len) p->scratch_len = last;
  }
  p->packed_len =
      sizeof(float) * (size_t)(z.half ? 3 * z.in : z.planes) * 16 * (size_t)(p->n_parts * blocks * z.steps);
}

static void plan_winograd_line(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape part = ifd_conv_part(&p->shape, 0), *s = &part;
  int64_t blocks = ifd_ceil_div(s->m, 16);
  int64_t tiles = p->batch * ifd_winograd_line_sizes_of(s, 1, blocks).tiles;
  ifd_winograd_line_sizes all = ifd_winograd_line_sizes_of(s, tiles, blocks);
  double tile_work = IFD_WINOGRAD_LINE_POINTS * (double)all.steps * (double)blocks;
  int64_t tasks = tasks_worth(p, tile_work * ((double)tiles + WEIGHT), TASK);
  p->spans_batch = true;
  p->n_parts = ifd_conv_n_parts(&p->shape);
  split_rows(p, tiles, ifd_min_i64(tasks, tiles / 28));
  split_blocks(p, blocks, ifd_min_i64(ifd_ceil_div(ifd_min_i64(tasks, 4), p->row_tasks), blocks / 4), 1);
  ifd_winograd_line_sizes z = ifd_winograd_line_sizes_of(s, p->rows, p->blocks);
  p->scratch_len = ifd_round_64(sizeof(int64_t) * (size_t)z.segments) +
                   sizeof(float) * IFD_WINOGRAD_LINE_POINTS * (size_t)(z.v_plane + z.m_plane);
  p->packed_len = sizeof(float) * 16 * IFD_WINOGRAD_LINE_POINTS * (size_t)(p->n_parts * blocks * z.steps);
}

/* Lanes: parts are phases and planes in depth, rows are lines. Taps are at a third of what products reach.
 * Threads part by halves of the lines where the products before and behind are likely to. */
static void plan_lines(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape *s = &p->shape;
  int64_t c = s->c / s->groups, blocks = ifd_ceil_div(s->m, 16), taps = ifd_conv_volume(s->kernel);
  int64_t lines = most_places(s, IFD_K_H);
  double line_work = (double)(c * taps) * (double)most_places(s, IFD_K_W);
  p->n_parts = ifd_conv_n_phases(s) * s->out[IFD_K_D];
  int64_t tasks = tasks_worth(p, line_work * (double)lines * (double)blocks, TASK / 2);
  p->rows_first = lines * most_places(s, IFD_K_W) > s->m / 4;
  split_rows(p, lines, p->rows_first && lines >= 2 * LEAST_LINES ? ifd_min_i64(tasks, 2) : 1);
  split_blocks(p, blocks, ifd_ceil_div(tasks, p->row_tasks), 1);
  split_rows(p, lines, ifd_ceil_div(tasks, p->block_tasks));
  p->packed_len = sizeof(float) * 16 * (size_t)(c * taps * blocks);
}

static void plan_depthwise(ifd_k_conv_plan *p) {
  const ifd_conv_padded_sizes z = ifd_conv_padded_sizes_of(&p->shape);
  plan_lines(p);
  p->scratch_len =
      ifd_conv_tap_lines_len(&p->shape) + (z.fits || z.wide ? sizeof(float) * 16 * (size_t)z.vectors : 0);
}

/* Rows of a task are made of lines of which some are made by the task before, too. */
static void plan_expanded(ifd_k_conv_plan *p) {
  const ifd_k_conv_shape *s = &p->shape;
  plan_lines(p);
  double made = (double)s->before * (double)ifd_conv_volume(s->in);
  double read = 3 * (double)ifd_conv_volume(s->kernel) * (double)ifd_conv_volume(s->out);
  int64_t blocks = ifd_ceil_div(s->m, 16), tasks = tasks_worth(p, (made + read) * (double)blocks, TASK);
  split_rows(p, s->out[IFD_K_H], ifd_min_i64(ifd_min_i64(tasks, 4), s->out[IFD_K_H] / LEAST_LINES));
  split_blocks(p, blocks, ifd_ceil_div(tasks, p->row_tasks), IFD_CONV_EXPANDED_BLOCKS);
  p->rows_first = true;
  p->scratch_len = ifd_conv_expanded_sizes_of(s).len;
}

static void plan_grouped(ifd_k_conv_plan *p) {
  plan_lines(p);
  p->scratch_len = ifd_conv_spread_scratch_of(&p->shape, p->rows).len;
}

/* Unblocked x: parts are planes in depth, rows are lines, as many as leave their band in L2. */
static void plan_band(ifd_k_conv_plan *p, ifd_conv_band (*band_of)(const ifd_k_conv_shape *, int64_t),
                      int64_t n_blocks) {
  const ifd_k_conv_shape *s = &p->shape;
  enum { FLOATS = 1 << 16 };
  int64_t blocks = ifd_ceil_div(s->m, 16), out = s->out[IFD_K_H];
  p->n_parts = s->out[IFD_K_D];
  ifd_conv_band one = band_of(s, 1);
  int64_t tasks =
      ifd_tasks_worth((double)one.taps * (double)blocks * (double)s->out[IFD_K_W] * (double)out, TASK);
  int64_t fit = ifd_max_i64(1, FLOATS / (one.planes * ifd_conv_band_line(&one) * s->stride[IFD_K_H]));
  split_rows(p, out, ifd_max_i64(tasks, ifd_ceil_div(out, fit)));
  split_blocks(p, n_blocks, ifd_min_i64(tasks / p->row_tasks, n_blocks / 4), 1);
  ifd_conv_band band = band_of(s, p->rows);
  p->scratch_len = ifd_conv_band_scratch(&band);
  p->packed_len = sizeof(float) * 16 * (size_t)(band.taps * blocks);
}
static void plan_first(ifd_k_conv_plan *p) {
  plan_band(p, ifd_conv_band_first, ifd_ceil_div(p->shape.m, 16));
}
static void plan_planar(ifd_k_conv_plan *p) { plan_band(p, ifd_conv_band_planar, 1); }

bool ifd_k_conv_plan_init(ifd_k_conv_plan *plan, const ifd_k_conv_shape *shape, ifd_k_conv_algo algo,
                          int64_t batch, int threads) {
  static void (*const plans[IFD_K_N_CONV_ALGOS])(ifd_k_conv_plan *) = {
      [IFD_K_CONV_DIRECT] = plan_direct,
      [IFD_K_CONV_WINOGRAD] = plan_winograd,
      [IFD_K_CONV_WINOGRAD_2] = plan_winograd,
      [IFD_K_CONV_WINOGRAD_HALF] = plan_winograd,
      [IFD_K_CONV_WINOGRAD_2_HALF] = plan_winograd,
      [IFD_K_CONV_WINOGRAD_LINE] = plan_winograd_line,
      [IFD_K_CONV_DEPTHWISE] = plan_depthwise,
      [IFD_K_CONV_EXPANDED] = plan_expanded,
      [IFD_K_CONV_GROUPED] = plan_grouped,
      [IFD_K_CONV_PHASES] = plan_boxes,
      [IFD_K_CONV_PHASES_OUT] = plan_boxes,
      [IFD_K_CONV_FIRST] = plan_first,
      [IFD_K_CONV_FRAMES] = plan_frames,
      [IFD_K_CONV_PLANAR] = plan_planar};
  *plan = (ifd_k_conv_plan){.shape = *shape, .algo = algo, .batch = batch, .threads = threads};
  if (!sizes_fit(shape, batch)) return false;
  plans[algo](plan);
  plan->n_tasks = (plan->spans_batch ? 1 : batch) * plan->n_parts * plan->row_tasks * plan->block_tasks;
  return true;
}
