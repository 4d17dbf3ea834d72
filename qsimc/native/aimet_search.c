/* What the candidates of AIMET's tf_enhanced cost.  A part of kernels.c, which includes it.
 *
 * The sums of `_Grids.costs` in qsimc/calibrate/aimet_search.py, step by step and in the same order, so that the bits
 * are the same; several candidates at a time, and none of them to the end once it costs more than the best.
 */

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-trapping-math")
#endif

enum {
    TOGETHER = 16,
    /* Buckets between looks at whether candidates have become too dear. */
    STRETCH = 32,
};

#define CLIPPING_COST 3.0

typedef struct {
    const double *shares, *middles; /* of the n buckets in use, in order */
    const int32_t *places;          /* which buckets these are */
    size_t n;
} Used;

/* k candidates: scale and offset, the buckets that hold the ends of a grid, and these buckets' centres. */
typedef struct {
    const float *scales, *offsets;
    const int32_t *low_buckets, *high_buckets;
    const double *low_centres, *high_centres;
} Candidates;

/* Write what TOGETHER candidates from the first one on cost, or something above `enough`. */
CLONES static void costs_of(const Used *used, const Candidates *all, size_t first, double enough, double *costs)
{
    float scales[TOGETHER], offsets[TOGETHER];
    int32_t low_buckets[TOGETHER], high_buckets[TOGETHER];
    double low_centres[TOGETHER], high_centres[TOGETHER];
    double rounding[TOGETHER] = {0}, below[TOGETHER] = {0}, above[TOGETHER] = {0};
    memcpy(scales, all->scales + first, sizeof scales);
    memcpy(offsets, all->offsets + first, sizeof offsets);
    memcpy(low_buckets, all->low_buckets + first, sizeof low_buckets);
    memcpy(high_buckets, all->high_buckets + first, sizeof high_buckets);
    memcpy(low_centres, all->low_centres + first, sizeof low_centres);
    memcpy(high_centres, all->high_centres + first, sizeof high_centres);
    for (size_t start = 0; start < used->n; start += STRETCH) {
        size_t end = start + STRETCH < used->n ? start + STRETCH : used->n;
        for (size_t i = start; i < end; i++) {
            double middle = used->middles[i], share = used->shares[i];
            int32_t place = used->places[i];
            float value = (float)middle;
            for (size_t c = 0; c < TOGETHER; c++) {
                float quantized = value / scales[c] - offsets[c];
                quantized = truncf(quantized + copysignf(ALMOST_HALF, quantized));
                quantized = (quantized + offsets[c]) * scales[c];
                double error = (double)(value - quantized);
                double low = middle - low_centres[c], high = middle - high_centres[c];
                int under = place < low_buckets[c], over = place >= high_buckets[c];
                error = error * error * share;
                low = low * low * share;
                high = high * high * share;
                rounding[c] += under | over ? 0.0 : error;
                below[c] += under ? low : 0.0;
                above[c] += over ? high : 0.0;
            }
        }
        double least = INFINITY;
        for (size_t c = 0; c < TOGETHER; c++) {
            costs[c] = CLIPPING_COST * (below[c] + above[c]) + rounding[c];
            least = costs[c] < least ? costs[c] : least;
        }
        if (least > enough) /* sums of squares only grow */
            return;
    }
}

/* Return the first candidate of least cost among k, a multiple of TOGETHER.  The last are looked at first: they clip
 * the least, and one of them is usually near the best. */
EXPORT size_t qsimc_least_error(const Used *used, const Candidates *candidates, size_t k)
{
    size_t best = k - 1;
    double least = INFINITY, costs[TOGETHER];
    for (size_t first = k; first;) {
        first -= TOGETHER;
        costs_of(used, candidates, first, least, costs);
        for (size_t c = TOGETHER; c--;)
            if (costs[c] <= least) {
                least = costs[c];
                best = first + c;
            }
    }
    return best;
}

/* The same for each of some channels, all of whose buckets are given: edges are multiples of a width, from a first. */
EXPORT void qsimc_least_errors(const double *shares, const double *firsts, const double *widths, size_t channels,
                               const Candidates *candidates, size_t k, int64_t *best)
{
    enum { BUCKETS = CELLS - 2 };
    double used_shares[BUCKETS], middles[BUCKETS];
    int32_t places[BUCKETS];
    for (size_t channel = 0; channel < channels; channel++, shares += BUCKETS) {
        double first = firsts[channel], width = widths[channel], half = ((first + 1) * width - first * width) / 2;
        Used used = {used_shares, middles, places, 0};
        for (int32_t bucket = 0; bucket < BUCKETS; bucket++) {
            used_shares[used.n] = shares[bucket];
            middles[used.n] = (first + bucket) * width + half;
            places[used.n] = bucket;
            used.n += shares[bucket] > 0;
        }
        Candidates own = *candidates;
        own.scales += channel * k, own.offsets += channel * k;
        own.low_buckets += channel * k, own.high_buckets += channel * k;
        own.low_centres += channel * k, own.high_centres += channel * k;
        best[channel] = (int64_t)qsimc_least_error(&used, &own, k);
    }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
