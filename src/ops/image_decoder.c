/* ImageDecoder: the format is known by the first bytes, whatever a file was called. */
#include <string.h>

#include "ops/op.h"
#include "ops/shared/image.h"

typedef struct format {
  const char *magic;
  int magic_len, at; /* where it stands */
  ifd_image_decoder *decode;
} format;

static const format formats[] = {
    {"\x89PNG\r\n\x1a\n", 8, 0, ifd_image_decode_png},
    {"\xff\xd8\xff", 3, 0, ifd_image_decode_jpeg},
    {"\0\0\0\x0cjP  \r\n\x87\n", 12, 0, ifd_image_decode_jpeg2000},
    {"\xff\x4f\xff\x51", 4, 0, ifd_image_decode_jpeg2000},
    {"II*\0", 4, 0, ifd_image_decode_tiff},
    {"MM\0*", 4, 0, ifd_image_decode_tiff},
    {"II+\0", 4, 0, ifd_image_decode_tiff}, /* BigTIFF */
    {"MM\0+", 4, 0, ifd_image_decode_tiff},
    {"WEBP", 4, 8, ifd_image_decode_webp},
    {"BM", 2, 0, ifd_image_decode_bmp},
    {"P", 1, 0, ifd_image_decode_pnm},
};

static ifd_status decode(ifd_eval *x, ifd_image *image) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const uint8_t *data = in->data;
  size_t len = (size_t)ifd_tensor_count(in);
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    const format *f = &formats[i];
    bool is = len >= (size_t)(f->at + f->magic_len) && !memcmp(data + f->at, f->magic, (size_t)f->magic_len);
    if (is) return f->decode(x->err, image, x->scratch, data, len);
  }
  return IFD_OK;
}

/* ---- pixel formats ---- */

static void put_rgb(uint8_t *to, const uint8_t *rgb, int64_t n) { memcpy(to, rgb, (size_t)(3 * n)); }
static void put_bgr(uint8_t *to, const uint8_t *rgb, int64_t n) {
  for (int64_t i = 0; i < n; i++, to += 3, rgb += 3) to[0] = rgb[2], to[1] = rgb[1], to[2] = rgb[0];
}
/* ITU-R BT.601's luma, 0.299 R + 0.587 G + 0.114 B, in 16-bit fractions and rounded. */
static void put_gray(uint8_t *to, const uint8_t *rgb, int64_t n) {
  for (int64_t i = 0; i < n; i++, rgb += 3)
    to[i] = (uint8_t)((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 0x8000) >> 16);
}

typedef struct pixel_format {
  const char *name;
  int channels;
  void (*put)(uint8_t *to, const uint8_t *rgb, int64_t n);
} pixel_format;

static ifd_status read_pixel_format(ifd_error *err, const ifd_node *node, const pixel_format **out) {
  static const pixel_format all[] = {{"RGB", 3, put_rgb}, {"BGR", 3, put_bgr}, {"Grayscale", 1, put_gray}};
  for (int i = 0; i < 3; i++)
    if (ifd_node_string_is(node, "pixel_format", "RGB", all[i].name)) {
      *out = &all[i];
      return IFD_OK;
    }
  FAIL(err, BAD_MODEL, "attribute pixel_format is not RGB, BGR or Grayscale");
}

static ifd_status eval_ImageDecoder(ifd_eval *x) {
  const pixel_format *format;
  ifd_image image = {0};
  ifd_tensor *out;
  TRY(read_pixel_format(x->err, x->node, &format));
  EXPECT(x->err, ifd_eval_in(x, 0)->shape.rank == 1, BAD_INPUT, "an encoded stream has one dimension, not %d",
         ifd_eval_in(x, 0)->shape.rank);
  TRY(decode(x, &image));
  if (!image.rgb) ifd_image_drop(&image);
  TRY(ifd_eval_out(x, &out, 0, IFD_UINT8, &(ifd_shape){3, {image.height, image.width, format->channels}}));
  if (image.rgb) format->put(out->data, image.rgb, image.width * image.height);
  return IFD_OK;
}

static ifd_status infer_ImageDecoder(ifd_infer *x) {
  const pixel_format *format;
  TRY(read_pixel_format(x->err, x->node, &format));
  const ifd_dim dims[] = {ifd_dim_unknown(x->dims), ifd_dim_unknown(x->dims), format->channels};
  return ifd_infer_tensor(x, 0, IFD_UINT8, 3, dims);
}

const ifd_op ifd_ops_image_decoder[] = {
    {.name = "ImageDecoder", .since = 20, .infer = infer_ImageDecoder, .eval = eval_ImageDecoder}, {0}};
