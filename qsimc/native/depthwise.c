/* Depthwise convolution, with the bits of onnxruntime's in its plain layout; part of kernels.c.
 *
 * onnxruntime copies the values under each tap of the kernel side by side and multiplies that matrix by the taps: four
 * at a time, then two, then one.  The products of a step are added up from left to right, then to what there was; none
 * is fused with a sum.  This makes the same sums where the values are.  Padding is a value, zero, that takes part.
 */

enum { Y, X };

/* One dimension of a plane.  A phase is every `stride`-th value of what is padded, so that a tap's are neighbours. */
typedef struct {
    size_t size, made, taps, stride, dilation, before, phase;
} Axis;

typedef struct {
    const float *x, *weights, *bias; /* bias may be NULL */
    float *made;
    Axis axes[2];
    size_t planes, channels, parts;
    size_t *places; /* where each tap begins */
    float *work;    /* for each part: the phases of a plane, and the sums at their places */
    size_t phase_size, work_size;
} Depthwise;

/* Values that are summed up together. */
enum { SUMS = 2 * WIDTH };

/* Fill in what follows from the rest; 0 if no output is left. */
static int lay_out(Axis *axis, size_t after)
{
    size_t padded = axis->before + axis->size + after, reach = (axis->taps - 1) * axis->dilation;
    axis->made = padded > reach ? (padded - reach - 1) / axis->stride + 1 : 0;
    axis->phase = axis->made + reach / axis->stride;
    return axis->made > 0;
}

/* Where the values under a tap begin. */
static size_t place_of(const Axis *axes, size_t phase_size, size_t tap)
{
    size_t y = tap / axes[X].taps * axes[Y].dilation, x = tap % axes[X].taps * axes[X].dilation;
    size_t phase = y % axes[Y].stride * axes[X].stride + x % axes[X].stride;
    return phase * phase_size + y / axes[Y].stride * axes[X].phase + x / axes[X].stride;
}

/* Put the rows of a plane into those of its phases.  `y_stride` and `x_stride` are constants here where they can be. */
static inline __attribute__((always_inline)) void spread(const float *plane, float *phases, const Axis *axes,
                                                         size_t phase_size, size_t y_stride, size_t x_stride)
{
    const Axis *y = axes + Y, *x = axes + X;
    for (size_t row = 0; row < y->size && (row + y->before) / y_stride < y->phase; row++) {
        const float *from = plane + row * x->size;
        float *to = phases + (row + y->before) % y_stride * x_stride * phase_size +
                    (row + y->before) / y_stride * x->phase;
        for (size_t phase = 0; phase < x_stride; phase++) {
            size_t skipped = (phase + x_stride - x->before % x_stride) % x_stride;
            size_t first = (x->before + skipped) / x_stride;
            if (skipped >= x->size || first >= x->phase)
                continue;
            size_t n = (x->size - skipped - 1) / x_stride + 1, room = x->phase - first;
            n = n < room ? n : room;
            for (size_t k = 0; k < n; k++)
                to[phase * phase_size + first + k] = from[skipped + k * x_stride];
        }
    }
}

CLONES static void spread_plane(const float *plane, float *phases, const Axis *axes, size_t phase_size)
{
    if (axes[Y].stride == 1 && axes[X].stride == 1)
        spread(plane, phases, axes, phase_size, 1, 1);
    else if (axes[Y].stride == 2 && axes[X].stride == 2)
        spread(plane, phases, axes, phase_size, 2, 2);
    else
        spread(plane, phases, axes, phase_size, axes[Y].stride, axes[X].stride);
}

static inline __attribute__((always_inline)) void add_taps(Floats *sums, const float *phases, const size_t *places,
                                                           const float *weights, size_t taps)
{
    Floats low = *(const FloatsInMemory *)(phases + *places) * *weights;
    Floats high = *(const FloatsInMemory *)(phases + *places + WIDTH) * *weights;
    for (size_t tap = 1; tap < taps; tap++) {
        low += *(const FloatsInMemory *)(phases + places[tap]) * weights[tap];
        high += *(const FloatsInMemory *)(phases + places[tap] + WIDTH) * weights[tap];
    }
    sums[0] += low;
    sums[1] += high;
}

/* Make n sums, a multiple of SUMS, and add the bias if there is one; `phases` reach as far beyond the last place. */
CLONES static void sum_taps(const float *phases, const size_t *places, const float *weights, size_t taps,
                            const float *bias, float *made, size_t n)
{
    for (size_t k = 0; k < n; k += SUMS) {
        Floats sums[2] = {{0}, {0}};
        size_t tap = 0;
        for (; tap + 4 <= taps; tap += 4)
            add_taps(sums, phases + k, places + tap, weights + tap, 4);
        if (taps - tap >= 2) {
            add_taps(sums, phases + k, places + tap, weights + tap, 2);
            tap += 2;
        }
        if (tap < taps)
            add_taps(sums, phases + k, places + tap, weights + tap, 1);
        if (bias) {
            sums[0] += *bias;
            sums[1] += *bias;
        }
        *(FloatsInMemory *)(made + k) = sums[0];
        *(FloatsInMemory *)(made + k + WIDTH) = sums[1];
    }
}

static size_t rounded_up(size_t n) { return (n + SUMS - 1) / SUMS * SUMS; }

/* Make every plane whose number is `part` and a multiple of `parts` more. */
static void convolve_part(void *how_, size_t part)
{
    const Depthwise *how = how_;
    const Axis *y = how->axes + Y, *x = how->axes + X;
    size_t taps = y->taps * x->taps, sums = rounded_up((y->made - 1) * x->phase + x->made);
    float *phases = how->work + part * how->work_size, *made = phases + how->work_size - sums;
    memset(phases, 0, (how->work_size - sums) * sizeof *phases);
    for (size_t plane = part; plane < how->planes; plane += how->parts) {
        size_t channel = plane % how->channels;
        spread_plane(how->x + plane * y->size * x->size, phases, how->axes, how->phase_size);
        sum_taps(phases, how->places, how->weights + channel * taps, taps, how->bias ? how->bias + channel : NULL, made,
                 sums);
        for (size_t row = 0; row < y->made; row++)
            memcpy(how->made + (plane * y->made + row) * x->made, made + row * x->phase, x->made * sizeof *made);
    }
}

/* Allocate `places`, with what the parts work in behind them, to be freed with them; 0 if there is no memory. */
static int prepare(Depthwise *how)
{
    const Axis *y = how->axes + Y, *x = how->axes + X;
    size_t taps = y->taps * x->taps;
    how->phase_size = y->phase * x->phase;
    how->work_size = y->stride * x->stride * how->phase_size + SUMS + rounded_up((y->made - 1) * x->phase + x->made);
    how->places = malloc(taps * sizeof *how->places + how->parts * how->work_size * sizeof *how->work);
    if (!how->places)
        return 0;
    how->work = (float *)(how->places + taps);
    for (size_t tap = 0; tap < taps; tap++)
        how->places[tap] = place_of(how->axes, how->phase_size, tap);
    return 1;
}
