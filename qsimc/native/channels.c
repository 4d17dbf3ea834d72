/* Sums and products with a number for each channel; part of kernels.c.
 *
 * Channels lie one after the other, or some of them together, as in the layout that onnxruntime's convolutions prefer,
 * which its own Add and Mul do not know.
 */

typedef struct {
    const float *x, *channels;
    float *made;
    size_t block, blocks, length; /* blocks of channels; values that lie together in each, for one sample */
    int product;
} Combination;

CLONES static void combine_one(const float *x, float channel, float *made, size_t n, int product)
{
    for (size_t k = 0; k < n; k++)
        made[k] = product ? x[k] * channel : x[k] + channel;
}

/* `block` is a constant here where it is one of those that occur, so that the inner loop becomes vectors. */
static inline __attribute__((always_inline)) void combine_some(const float *x, const float *channels, float *made,
                                                               size_t n, size_t block, int product)
{
    for (size_t k = 0; k < n; k += block)
        for (size_t j = 0; j < block; j++)
            made[k + j] = product ? x[k + j] * channels[j] : x[k + j] + channels[j];
}

CLONES static void combine_block(const float *x, const float *channels, float *made, size_t n, size_t block,
                                 int product)
{
    if (block == 16)
        combine_some(x, channels, made, n, 16, product);
    else if (block == 8)
        combine_some(x, channels, made, n, 8, product);
    else
        combine_some(x, channels, made, n, block, product);
}

static void combine_part(void *combination_, size_t part)
{
    const Combination *how = combination_;
    size_t start = part * how->length;
    const float *channels = how->channels + part % how->blocks * how->block;
    if (how->block == 1)
        combine_one(how->x + start, *channels, how->made + start, how->length, how->product);
    else
        combine_block(how->x + start, channels, how->made + start, how->length, how->block, how->product);
}
