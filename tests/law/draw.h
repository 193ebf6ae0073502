/* Random models, as text, for the law of same bits: one operator with drawn attributes and shapes, then often
 * a few more that fuse with it. The first dimension of every input and output is the batch N, and no operator
 * mixes its rows. The same seed draws the same model everywhere. */
#ifndef IFD_LAW_DRAW_H
#define IFD_LAW_DRAW_H

#include <stdbool.h>
#include <stdint.h>

enum { DRAW_TEXT = 1 << 15, DRAW_RANK = 6 };

typedef struct draw {
  uint64_t random;
  char text[DRAW_TEXT]; /* the model */
  char constants[DRAW_TEXT], nodes[DRAW_TEXT];
  int n_names, n_constants;
  char at[16]; /* the value that the chain has come to */
  int rank;    /* of it and of its sample's dimensions; 0: not known any more */
  int64_t dim[DRAW_RANK];
  int x_rank; /* of the input, in the same way */
  int64_t x_dim[DRAW_RANK];
  double work; /* about so many multiply-adds for a sample */
  const char *family;
} draw;

/* Fills d->text with the model of a seed. */
void draw_model(draw *d, uint64_t seed);
/* A number in [low, high]. */
int64_t draw_int(draw *d, int64_t low, int64_t high);
bool draw_chance(draw *d, int percent);

#endif
