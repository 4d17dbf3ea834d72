/* Values through the grid of an encoding and back, and gradients past it.  A part of kernels.c, which includes it.
 *
 * What `FakeQuantize` in backends/qsimc_torch/runtime/fake_quant.py computes for each numerics, operation by operation,
 * so that the bits are the same: a product stays a product, a quotient a quotient, and NaN goes where it goes there.
 *
 * A tensor is a matrix here.  Where neighbours share a channel, each row has the numbers of one; where they do not,
 * each column has, and those of some columns are laid out once for many rows.
 */

#ifdef __linux__
#include <sys/mman.h>
#endif

/* Nobody asks which exceptions were raised; without them to keep, choices between numbers become vectors. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-trapping-math")
#endif

typedef enum { DIVIDE, MULTIPLY, FROM_LOW } Form;
typedef enum { HALF_EVEN, HALF_UP, HALF_DOWN, STD } Rounding;
typedef enum { ONNX, AIMET, AIMET_TORCH, VITIS, VITIS_PER_CHANNEL } Numerics;

/* The largest float32 below 0.5: adding 0.5 itself would round 0.49999997 up, the sum being no float32. */
#define ALMOST_HALF 0.49999997f

enum {
    /* Values that a thread takes at a time, and how many are worth waking several threads up for. */
    SHARE = 1 << 15,
    WORTH_SHARING = 1 << 18,
    /* Columns whose numbers are laid out together: they stay in the first-level cache. */
    COLUMNS = 512,
    /* Neighbours of one channel that make a row worth its overhead. */
    NEIGHBOURS = 32,
    /* Bytes of a large page, and of a piece of memory that the C library gets from the system, and gives back. */
    HUGE_PAGE = 1 << 21,
    FROM_SYSTEM = 1 << 23,
};

/* A tensor, and the encoding that it is quantized by.
 *
 * x, y: outer * channels * inner values in row-major order; y may be x.
 * inside: for each value, where it was, as `Inside` has it; to quantize, it may be NULL.
 * scale, zero_point: one for each channel; a zero point is rounded first.
 * parallel: NULL for one thread.
 */
typedef struct {
    const float *x;
    float *y;
    uint8_t *inside;
    const double *scale, *zero_point;
    double qmin, qmax;
    int64_t outer, channels, inner, numerics, rounding, threads;
    Parallel *parallel;
} GridJob;

/* Where a value was: among the steps of the grid, in the range that it is clamped to before.  What is both passes its
 * gradient on.  Where nothing is clamped before, everything is in range. */
enum Inside { OF_STEPS = 1, OF_RANGE = 2 };

/* What a value is quantized by: `factor` divides or multiplies it, `step` multiplies what was rounded. */
typedef struct {
    float factor, step, lowest, highest, low, high;
} Numbers;

typedef struct {
    float factor[COLUMNS], step[COLUMNS], lowest[COLUMNS], highest[COLUMNS], low[COLUMNS], high[COLUMNS];
} Table;

static Numbers numbers_of(const GridJob *job, size_t channel)
{
    double scale = job->scale[channel], zero_point = rint(job->zero_point[channel]);
    double lowest = job->qmin - zero_point, highest = job->qmax - zero_point;
    float step = (float)scale, factor = step;
    if (job->numerics == AIMET_TORCH) {
        factor = 1.0f / step;
    } else if (job->numerics == VITIS || job->numerics == VITIS_PER_CHANNEL) {
        double inverse = 1.0 / scale;
        if (job->numerics == VITIS_PER_CHANNEL)
            inverse = 1.0 / (double)(1.0f / (1.0f / step));
        factor = (float)inverse;
        step = 1.0f / factor;
    }
    return (Numbers){factor, step, (float)lowest, (float)highest, (float)(lowest * scale), (float)(highest * scale)};
}

#define INLINE static inline __attribute__((always_inline))

INLINE float half_away(float steps)
{
    return truncf(steps + copysignf(ALMOST_HALF, steps));
}

INLINE float rounded(float steps, Rounding rounding)
{
    float below;
    switch (rounding) {
    case HALF_UP:
        below = floorf(steps);
        return below + (steps - below >= 0.5f ? 1.0f : 0.0f);
    case HALF_DOWN:
        below = floorf(fabsf(steps));
        return copysignf(below + (fabsf(steps) - below > 0.5f ? 1.0f : 0.0f), steps);
    case STD:
        return half_away(steps);
    default:
        return rintf(steps);
    }
}

/* Clamp; NaN takes the lower end. */
INLINE float inside(float x, float lowest, float highest)
{
    x = x > lowest ? x : lowest;
    return x < highest ? x : highest;
}

/* A value on its way: its steps before they are rounded and clamped, and where it was. */
typedef struct {
    float steps;
    uint8_t inside;
} Way;

INLINE Way way_of(float x, Numbers by, Form form)
{
    if (form != FROM_LOW) {
        float steps = form == DIVIDE ? x / by.factor : x * by.factor;
        return (Way){steps, steps >= by.lowest && steps <= by.highest ? OF_STEPS | OF_RANGE : OF_RANGE};
    }
    /* Counted from the low end, not from zero: the subtraction loses bits, and is meant to.  NaN stays. */
    float span = by.highest - by.lowest, limited = x < by.low ? by.low : x;
    limited = limited > by.high ? by.high : limited;
    float counted = limited / by.factor - by.lowest;
    float steps = half_away(inside(counted, 0.0f, span)) + by.lowest;
    uint8_t of_steps = counted >= 0.0f && counted <= span && steps >= by.lowest && steps <= by.highest ? OF_STEPS : 0;
    return (Way){steps, of_steps | (x >= by.low && x <= by.high ? OF_RANGE : 0)};
}

INLINE float quantized(Way way, Numbers by, Form form, Rounding rounding)
{
    float steps = inside(way.steps, by.lowest, by.highest);
    if (form != FROM_LOW)
        steps = rounded(steps, rounding);
    return (steps + 0.0f) * by.step; /* -0.0 is no integer */
}

/* Return the gradient of a value: that of the result, by way of the steps between them. */
INLINE float passed(float upstream, uint8_t inside, Numbers by, Form form)
{
    float gradient = inside & OF_STEPS ? upstream * by.step : 0.0f;
    gradient = form == MULTIPLY ? gradient * by.factor : gradient / by.factor;
    return inside & OF_RANGE ? gradient : 0.0f;
}

/* What there is to do with values. */
typedef enum { QUANTIZE, QUANTIZE_AND_NOTE, PASS_GRADIENTS } Task;

/* No value depends on another, though y may be x. */
#define EACH_VALUE(numbers)                                                                                            \
    if (task == PASS_GRADIENTS) {                                                                                      \
        _Pragma("GCC ivdep") for (size_t k = 0; k < n; k++) y[k] = passed(x[k], where[k], numbers, form);              \
    } else if (task == QUANTIZE_AND_NOTE) {                                                                            \
        _Pragma("GCC ivdep") for (size_t k = 0; k < n; k++)                                                            \
        {                                                                                                              \
            Way way = way_of(x[k], numbers, form);                                                                     \
            where[k] = way.inside;                                                                                     \
            y[k] = quantized(way, numbers, form, rounding);                                                            \
        }                                                                                                              \
    } else {                                                                                                           \
        _Pragma("GCC ivdep") for (size_t k = 0; k < n; k++)                                                            \
            y[k] = quantized(way_of(x[k], numbers, form), numbers, form, rounding);                                    \
    }

/* Values of one channel. */
INLINE void along(const float *x, float *y, uint8_t *where, size_t n, Task task, Numbers by, Form form,
                  Rounding rounding)
{
    EACH_VALUE(by)
}

#define COLUMN ((Numbers){by->factor[k], by->step[k], by->lowest[k], by->highest[k], by->low[k], by->high[k]})

/* Values of many channels, one after the other. */
INLINE void across(const float *x, float *y, uint8_t *where, size_t n, Task task, const Table *by, Form form,
                   Rounding rounding)
{
    EACH_VALUE(COLUMN)
}

/* A loop of its own for each arithmetic: what decides it is a constant in it. */
#define EACH_FORM(loop, numerics, rounding, ...)                                                                       \
    switch (numerics) {                                                                                                \
    case ONNX:                                                                                                         \
        loop(__VA_ARGS__, DIVIDE, HALF_EVEN);                                                                          \
        break;                                                                                                         \
    case AIMET:                                                                                                        \
        loop(__VA_ARGS__, FROM_LOW, STD);                                                                              \
        break;                                                                                                         \
    default:                                                                                                           \
        switch (rounding) {                                                                                            \
        case HALF_UP:                                                                                                  \
            loop(__VA_ARGS__, MULTIPLY, HALF_UP);                                                                      \
            break;                                                                                                     \
        case HALF_DOWN:                                                                                                \
            loop(__VA_ARGS__, MULTIPLY, HALF_DOWN);                                                                    \
            break;                                                                                                     \
        case STD:                                                                                                      \
            loop(__VA_ARGS__, MULTIPLY, STD);                                                                          \
            break;                                                                                                     \
        default:                                                                                                       \
            loop(__VA_ARGS__, MULTIPLY, HALF_EVEN);                                                                    \
        }                                                                                                              \
    }

CLONES static void along_row(const GridJob *job, const float *x, float *y, uint8_t *where, size_t n, Task task,
                             Numbers by)
{
    EACH_FORM(along, job->numerics, job->rounding, x, y, where, n, task, by)
}

CLONES static void across_columns(const GridJob *job, const float *x, float *y, uint8_t *where, size_t n, Task task,
                                  const Table *by)
{
    EACH_FORM(across, job->numerics, job->rounding, x, y, where, n, task, by)
}

/* ---- One tensor, shared out over threads ---- */

typedef struct {
    const GridJob *job;
    Task task;
    size_t rows, columns, tall, wide; /* of the matrix, and of the blocks that it is cut into */
    int by_column;
    size_t next; /* the first block that no thread has taken */
} Blocks;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t ceiling(size_t a, size_t b) { return (a + b - 1) / b; }

static void block(const Blocks *blocks, size_t top, size_t left)
{
    const GridJob *job = blocks->job;
    size_t bottom = least(top + blocks->tall, blocks->rows), width = least(blocks->wide, blocks->columns - left);
    Table table;
    for (size_t k = 0; blocks->by_column && k < width; k++) {
        Numbers by = numbers_of(job, (left + k) / job->inner);
        table.factor[k] = by.factor, table.step[k] = by.step;
        table.lowest[k] = by.lowest, table.highest[k] = by.highest;
        table.low[k] = by.low, table.high[k] = by.high;
    }
    for (size_t row = top; row < bottom; row++) {
        size_t start = row * blocks->columns + left;
        const float *x = job->x + start;
        float *y = job->y + start;
        uint8_t *where = job->inside ? job->inside + start : NULL;
        if (blocks->by_column)
            across_columns(job, x, y, where, width, blocks->task, &table);
        else
            along_row(job, x, y, where, width, blocks->task, numbers_of(job, row % job->channels));
    }
}

static void take_blocks(void *blocks_)
{
    Blocks *blocks = blocks_;
    size_t beside = ceiling(blocks->columns, blocks->wide), count = ceiling(blocks->rows, blocks->tall) * beside, next;
    while ((next = __atomic_fetch_add(&blocks->next, 1, __ATOMIC_RELAXED)) < count)
        block(blocks, next / beside * blocks->tall, next % beside * blocks->wide);
}

/* Memory from the system comes page by page, which takes several times as long as writing to it; large pages do not.
 * This is advice, and says nothing about what is in the memory. */
static void advise(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    uintptr_t start = ((uintptr_t)memory + HUGE_PAGE - 1) & -(uintptr_t)HUGE_PAGE;
    uintptr_t end = ((uintptr_t)memory + size) & -(uintptr_t)HUGE_PAGE;
    if (size >= FROM_SYSTEM && end > start)
        madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}

static void share_out(const GridJob *job, Task task)
{
    size_t n = job->outer * job->channels * job->inner;
    if (!n)
        return;
    Blocks blocks = {.job = job, .task = task, .by_column = job->channels > 1 && job->inner < NEIGHBOURS};
    blocks.rows = blocks.by_column ? job->outer : job->outer * job->channels;
    blocks.columns = n / blocks.rows;
    blocks.wide = least(blocks.columns, blocks.by_column ? COLUMNS : SHARE);
    blocks.tall = ceiling(SHARE, blocks.wide);
    if (job->y != job->x)
        advise(job->y, n * sizeof(float));
    if (job->parallel && job->threads > 1 && n >= WORTH_SHARING)
        job->parallel(take_blocks, &blocks, job->threads, 0);
    else
        take_blocks(&blocks);
}

/* Quantize values, and note where they were if somebody wants to know. */
EXPORT void qsimc_fake_quantize(const GridJob *job)
{
    share_out(job, job->inside ? QUANTIZE_AND_NOTE : QUANTIZE);
}

/* Make the gradients of results, x, into those of the values, y. */
EXPORT void qsimc_pass_gradients(const GridJob *job)
{
    share_out(job, PASS_GRADIENTS);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
