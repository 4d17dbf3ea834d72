/* The loops over tensors that calibration spends its time in, and onnxruntime operators around them.
 *
 * Each has a twin in NumPy that gives the same numbers (qsimc/calibrate/tally.py); this file is optional.
 *
 * A tally is a row of int64.  Its first two entries are the smallest and the largest value seen, as ordered bits: the
 * bits of a float32 as an integer, with the magnitude bits of negative values inverted, so that the order of the
 * integers is that of the values.  NaN lies beyond the infinity of its sign and so cannot hide.
 *
 *     bits row:    low, high, counts[BIT_BINS]          bin = sign, exponent and first 4 bits of the mantissa
 *     grid row:    low, high, reciprocal, before, lowest, highest, counts[CELLS]
 *                                                       bin = clip(floor(x * reciprocal) - before, lowest, highest)
 *
 * `reciprocal` is the bits of a float32.  A grid row with lowest > highest has no grid yet and counts nothing.
 */
#define _DEFAULT_SOURCE /* madvise */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* One binary for all processors: the loader picks the widest clone that this one has. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(QSIMC_ONE_CLONE)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

enum {
    MANTISSA_BITS = 4,
    SHIFT = 23 - MANTISSA_BITS,
    BIT_BINS = 1 << (32 - SHIFT),
    CELLS = 1538,
    LOW = 0,
    HIGH = 1,
    BIT_COUNTS = 2,
    RECIPROCAL = 2,
    BEFORE,
    LOWEST,
    HIGHEST,
    GRID_COUNTS,
    BITS_ROW = BIT_COUNTS + BIT_BINS,
    GRID_ROW = GRID_COUNTS + CELLS,
};

/* Neighbours often fall in one bin, zeros above all, and an increment waits for the one before it in the same place.
 * So values take turns between copies of the table; with eight of them the count is as fast as memory takes writes. */
#define LANES 8

/* Values that are looked at together, so that they stay in the first-level cache; and how far ahead memory is asked for
 * what comes next. */
#define BLOCK 1024

/* A lane counts in 32 bits. */
#define MOST ((size_t)1 << 30)

static _Thread_local uint32_t lanes[(BIT_BINS + CELLS) * LANES];

typedef struct {
    int32_t low, high;
} Range;

static float value_of(int32_t ordered)
{
    int32_t bits = ordered ^ ((ordered >> 31) & INT32_MAX);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int32_t ordered_of(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

static inline void widen(Range *range, Range by)
{
    range->low = by.low < range->low ? by.low : range->low;
    range->high = by.high > range->high ? by.high : range->high;
}

CLONES static Range range_of(const int32_t *x, size_t n)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (size_t k = 0; k < n; k++) {
        int32_t ordered = x[k] ^ ((x[k] >> 31) & INT32_MAX);
        low = ordered < low ? ordered : low;
        high = ordered > high ? ordered : high;
    }
    return (Range){low, high};
}

/* Add up the lanes of a place, and clear them. */
static inline __attribute__((always_inline)) uint32_t take(uint32_t *copies)
{
    uint32_t sum = 0;
    for (size_t lane = 0; lane < LANES; lane++)
        sum += copies[lane];
    if (sum)
        memset(copies, 0, sizeof *copies * LANES);
    return sum;
}

/* Add what the lanes have of a bin to its count, and return it. */
static inline size_t settle(int64_t *counts, size_t bin)
{
    uint32_t sum = take(lanes + bin * LANES);
    if (sum) /* a page that is not written takes no memory */
        counts[bin] += sum;
    return sum;
}

/* Settle the bins of n values in a range: zero, then from the largest magnitudes down.  Values are seldom tiny, so
 * this is far from all bins. */
CLONES static void settle_bits(int64_t *counts, size_t n, Range range)
{
    const size_t negative = BIT_BINS / 2;
    size_t above = range.high < 0 ? 0 : (size_t)range.high >> SHIFT;
    size_t below = range.low >= 0 ? 0 : (uint32_t)~range.low >> SHIFT;
    n -= settle(counts, 0) + settle(counts, negative);
    for (size_t magnitude = above > below ? above : below; n && magnitude; magnitude--)
        n -= settle(counts, magnitude) + settle(counts, negative + magnitude);
}

/* Values in a vector as wide as any; a narrower processor takes several for it. */
enum { WIDTH = 16 };
typedef float Floats __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(WIDTH * sizeof(int32_t))));
typedef uint32_t Unsigneds __attribute__((vector_size(WIDTH * sizeof(uint32_t))));
typedef Floats FloatsInMemory __attribute__((aligned(sizeof(float)), may_alias));
typedef Ints IntsInMemory __attribute__((aligned(sizeof(int32_t)), may_alias));

/* The range of values WIDTH apart from one another as ordered bits, for each of their places. */
typedef struct {
    Ints low, high;
} Ranges;

static inline __attribute__((always_inline)) void order(Ints *bits) { *bits ^= (*bits >> 31) & INT32_MAX; }

static inline __attribute__((always_inline)) void widen_all(Ranges *ranges, const Ints *ordered)
{
    Ints lower = *ordered < ranges->low, higher = *ordered > ranges->high;
    ranges->low = (*ordered & lower) | (ranges->low & ~lower);
    ranges->high = (*ordered & higher) | (ranges->high & ~higher);
}

static Range all_of(const Ranges *ranges)
{
    Range range = {INT32_MAX, INT32_MIN};
    for (size_t lane = 0; lane < WIDTH; lane++)
        widen(&range, (Range){ranges->low[lane], ranges->high[lane]});
    return range;
}

static void clear_all(Ranges *ranges) { *ranges = (Ranges){(Ints){0} + INT32_MAX, (Ints){0} + INT32_MIN}; }

/* Count n values, at most MOST and a multiple of WIDTH, into the lanes by their leading bits, and widen the ranges.
 *
 * The processor makes one store a cycle; the ranges are made meanwhile, and memory brings what comes later.  The lanes
 * are `table` here, because to find a thread's own memory in the loop takes a call, or makes every increment wait for
 * the one before it. */
CLONES static void count_bits(const uint32_t *x, size_t n, uint32_t *table, Ranges *found)
{
    Ranges ranges = *found;
    for (size_t k = 0; k < n; k += WIDTH) {
        __builtin_prefetch(x + k + BLOCK, 0, 2);
        Ints bits = *(const IntsInMemory *)(x + k);
        order(&bits);
        widen_all(&ranges, &bits);
        for (size_t lane = 0; lane < WIDTH; lane++)
            table[(x[k + lane] >> SHIFT) * LANES + lane % LANES]++;
    }
    *found = ranges;
}

/* Count n values, at most MOST, by their leading bits. */
static Range tally_bits(const uint32_t *x, size_t n, int64_t *counts, pthread_mutex_t *settling)
{
    Ranges ranges;
    clear_all(&ranges);
    size_t whole = n - n % WIDTH;
    count_bits(x, whole, lanes, &ranges);
    Range range = all_of(&ranges);
    widen(&range, range_of((const int32_t *)x + whole, n - whole));
    for (size_t k = whole; k < n; k++)
        lanes[(x[k] >> SHIFT) * LANES]++;
    pthread_mutex_lock(settling);
    settle_bits(counts, n, range);
    pthread_mutex_unlock(settling);
    return range;
}

/* Whether so many lanes, a multiple of WIDTH, count nothing. */
static inline __attribute__((always_inline)) int are_clear(const uint32_t *copies, size_t count)
{
    Ints any = {0};
    for (size_t k = 0; k < count; k += WIDTH)
        any |= *(const IntsInMemory *)(copies + k);
    int32_t seen = 0;
    for (size_t lane = 0; lane < WIDTH; lane++)
        seen |= any[lane];
    return !seen;
}

/* Places that are skipped together if all are empty, as most are: no tensor has values of all magnitudes. */
enum { SKIPPED = 8 };

#include "grids.c"

/* ---- One tensor, shared out over threads ---- */

typedef struct {
    const float *x;
    size_t n, parts;
    int64_t *bits, *on_grid; /* the rows; NULL if there is none */
    Range *ranges;
    pthread_mutex_t settling;
} Job;

static Range tally_some(Job *job, const float *x, size_t n)
{
    Grid grid = job->on_grid ? grid_of(job->on_grid) : (Grid){0, 0, 1, 0};
    int is_laid_out = grid.lowest <= grid.highest;
    if (job->bits && is_laid_out && is_exact(&grid) && grid.reciprocal > 0)
        return tally_both(x, n, &grid, job->bits + BIT_COUNTS, job->on_grid + GRID_COUNTS, &job->settling);
    if (is_laid_out)
        tally_grid(x, n, &grid, job->on_grid + GRID_COUNTS, &job->settling);
    if (job->bits)
        return tally_bits((const uint32_t *)x, n, job->bits + BIT_COUNTS, &job->settling);
    return range_of((const int32_t *)x, n);
}

static void tally_part(void *job_, size_t part)
{
    Job *job = job_;
    size_t start = job->n / job->parts * part, end = part + 1 == job->parts ? job->n : start + job->n / job->parts;
    Range range = {INT32_MAX, INT32_MIN};
    for (; start < end; start += MOST)
        widen(&range, tally_some(job, job->x + start, end - start < MOST ? end - start : MOST));
    job->ranges[part] = range;
}

static void widen_row(int64_t *row, Range range)
{
    if (row && range.low < row[LOW])
        row[LOW] = range.low;
    if (row && range.high > row[HIGH])
        row[HIGH] = range.high;
}

/* Extend the ranges of the rows by those of the parts of a tensor. */
static void finish(const Job *job)
{
    for (size_t part = 0; part < job->parts; part++) {
        widen_row(job->bits, job->ranges[part]);
        widen_row(job->on_grid, job->ranges[part]);
    }
}

/* A part is long enough to be worth handing over.  Each has its own settling to do, so that more of them than threads
 * would cost more than they even out. */
enum { PARTS = 64, PART = 1 << 14 };

static size_t parts_of(size_t n, size_t threads)
{
    size_t parts = n / PART < threads ? n / PART : threads;
    return parts < 1 ? 1 : parts < PARTS ? parts : PARTS;
}

/* Runs a function with an argument in so many threads, and waits for all of them: `GOMP_parallel`. */
typedef void Parallel(void (*)(void *), void *, unsigned, unsigned);

/* The threads that a thread of the caller's may use. */
static _Thread_local struct {
    Parallel *parallel;
    unsigned count;
} threads;

typedef struct {
    Job *job;
    size_t next; /* the first part that no thread has taken */
} Parts;

static void take_parts(void *parts_)
{
    Parts *parts = parts_;
    size_t part;
    while ((part = __atomic_fetch_add(&parts->next, 1, __ATOMIC_RELAXED)) < parts->job->parts)
        tally_part(parts->job, part);
}

static void tally(const float *x, size_t n, int64_t *bits, int64_t *on_grid)
{
    Range ranges[PARTS];
    size_t count = threads.parallel ? parts_of(n, threads.count) : 1;
    Job job = {x, n, count, bits, on_grid, ranges, PTHREAD_MUTEX_INITIALIZER};
    Parts parts = {&job, 0};
    if (job.parts > 1)
        threads.parallel(take_parts, &parts, threads.count, 0);
    else
        take_parts(&parts);
    finish(&job);
}

/* Let the tallies that this thread asks for use some threads, by way of `parallel`; NULL for this thread alone. */
EXPORT void qsimc_use_threads(Parallel *parallel, unsigned count)
{
    threads.parallel = parallel;
    threads.count = count;
}

/* Add n values to a bits row. */
EXPORT void qsimc_tally(const float *x, size_t n, int64_t *row)
{
    tally(x, n, row, NULL);
}

/* Add n values to a grid row. */
EXPORT void qsimc_tally_on_grid(const float *x, size_t n, int64_t *row)
{
    tally(x, n, NULL, row);
}

/* A count as a float64, which holds it exactly below 2^52; processors before AVX-512 DQ have no vectors for this. */
static inline double float_of(int64_t count)
{
    int64_t bits = count | (int64_t)0x4330000000000000; /* 2^52 */
    double sum;
    memcpy(&sum, &bits, sizeof sum);
    return sum - 0x1p52;
}

/* Average batches, counted in rows on grids, into the shares of AIMET's buckets, which lie between the outermost cells:
 * for each pair (number of the shares, number of the row), in order. */
EXPORT CLONES void qsimc_average(double *shares, double *batches, const int64_t *rows, const int64_t *pairs, size_t n)
{
    enum { BUCKETS = CELLS - 2 };
    for (size_t k = 0; k < n; k++) {
        double *into = shares + (size_t)pairs[2 * k] * BUCKETS, *before = batches + pairs[2 * k];
        const int64_t *counts = rows + (size_t)pairs[2 * k + 1] * GRID_ROW + GRID_COUNTS;
        int64_t size = 0;
        for (size_t cell = 0; cell < CELLS; cell++)
            size += counts[cell];
        for (size_t bucket = 0; bucket < BUCKETS; bucket++)
            into[bucket] = (into[bucket] * *before + float_of(counts[bucket + 1]) / (double)size) / (*before + 1);
        *before += 1;
    }
}

#include "fake_quantize.c"

#include "aimet_search.c"

#include "depthwise.c"

#include "channels.c"

#include "chain.c"

#include "operators.c"
