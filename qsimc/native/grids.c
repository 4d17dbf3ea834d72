/* Counting on grids, alone and with the leading bits; part of kernels.c. */

typedef struct {
    float reciprocal;
    int64_t before, lowest, highest;
} Grid;

static Grid grid_of(const int64_t *row)
{
    int32_t bits = (int32_t)row[RECIPROCAL];
    Grid grid = {0, row[BEFORE], row[LOWEST], row[HIGHEST]};
    memcpy(&grid.reciprocal, &bits, sizeof bits);
    return grid;
}

/* Numbers of cells that float32 holds exactly. */
#define EXACT ((int64_t)1 << 24)

static int is_exact(const Grid *grid)
{
    return -EXACT <= grid->before + grid->lowest && grid->before + grid->highest <= EXACT;
}

static size_t cell_of(float x, const Grid *grid)
{
    double cell = (double)floorf(x * grid->reciprocal) - (double)grid->before;
    /* The comparisons are such that NaN comes out as the lowest. */
    cell = cell > (double)grid->lowest ? cell : (double)grid->lowest;
    cell = cell < (double)grid->highest ? cell : (double)grid->highest;
    return (size_t)cell;
}

/* Count n values, at most MOST and a multiple of WIDTH, into the lanes by their cells on a grid that is exact, with the
 * numbers of their bins added to those of the cells or not, and widen the ranges.
 *
 * What is cut off first, at whole numbers, has the same cell as what is cut off after the floor.  The places of some
 * values are found while those of the ones before are counted: the processor has one kind of units for increments,
 * which wait for stores, and another one for vectors, and does both at once if they stand beside each other. */
static inline __attribute__((always_inline)) void count_places(const float *x, size_t n, const Grid *grid,
                                                               int with_bits, uint32_t *table, Ranges *found)
{
    Floats reciprocal = (Floats){0} + grid->reciprocal, lowest = (Floats){0} + (float)(grid->before + grid->lowest),
           highest = (Floats){0} + (float)(grid->before + grid->highest);
    enum { AHEAD = 16 * WIDTH };
    union {
        Unsigneds vector;
        uint32_t lane[WIDTH];
    } places[AHEAD / WIDTH];
    Unsigneds origin;
    for (uint32_t lane = 0; lane < WIDTH; lane++)
        origin[lane] = lane % LANES + ((with_bits ? BIT_BINS / 2 : 0) - (uint32_t)grid->before) * LANES;
    Ranges ranges = *found;
    for (size_t k = 0; k < n + AHEAD; k += WIDTH) {
        size_t turn = k % AHEAD / WIDTH;
        if (k >= AHEAD && k - AHEAD < n)
            for (size_t lane = 0; lane < WIDTH; lane++)
                table[places[turn].lane[lane]]++;
        if (k >= n)
            continue;
        __builtin_prefetch(x + k + BLOCK, 0, 2);
        Floats values = *(const FloatsInMemory *)(x + k), place = values * reciprocal;
        /* The comparisons are such that NaN comes out as the lowest. */
        Ints inside = place > lowest;
        place = (Floats)(((Ints)place & inside) | ((Ints)lowest & ~inside));
        inside = place < highest;
        place = (Floats)(((Ints)place & inside) | ((Ints)highest & ~inside));
        Ints cut = __builtin_convertvector(place, Ints); /* towards zero */
        cut += __builtin_convertvector(cut, Floats) > place;
        Ints bits = (Ints)values;
        order(&bits);
        widen_all(&ranges, &bits);
        if (with_bits)
            cut += bits >> SHIFT;
        places[turn].vector = (Unsigneds)cut * LANES + origin;
    }
    *found = ranges;
}

CLONES static void count_cells(const float *x, size_t n, const Grid *grid, uint32_t *table, Ranges *found)
{
    count_places(x, n, grid, 0, table, found);
}

CLONES static void count_both(const float *x, size_t n, const Grid *grid, uint32_t *table, Ranges *found)
{
    count_places(x, n, grid, 1, table, found);
}

/* Count n values, at most MOST, by the cells of a grid. */
static Range tally_grid(const float *x, size_t n, const Grid *grid, int64_t *counts, pthread_mutex_t *settling)
{
    Ranges ranges;
    clear_all(&ranges);
    size_t whole = is_exact(grid) ? n - n % WIDTH : 0;
    count_cells(x, whole, grid, lanes, &ranges);
    Range range = all_of(&ranges);
    widen(&range, range_of((const int32_t *)x + whole, n - whole));
    for (size_t k = whole; k < n; k++)
        lanes[cell_of(x[k], grid) * LANES]++;
    pthread_mutex_lock(settling);
    for (size_t cell = 0; cell < CELLS; cell++)
        settle(counts, cell);
    pthread_mutex_unlock(settling);
    return range;
}

/* ---- Leading bits and cells by one increment ----
 *
 * Both only rise with the value.  So the number of the bin, counted in the order of values from the middle on, and that
 * of the cell have a sum that rises wherever one of them does, and that says which they are: only one bin reaches it.
 */

/* The largest sum that a bin reaches; the last one reaches all there are. */
static int64_t reach(const Grid *grid, int64_t bin, int64_t last)
{
    if (bin >= last)
        return BIT_BINS / 2 - 1 + CELLS - 1;
    return bin + (int64_t)cell_of(value_of((int32_t)((bin + 1) * (1 << SHIFT) - 1)), grid);
}

/* The first bin from `bin` on that reaches a sum; none of those to `last` may. */
static int64_t bin_of_sum(const Grid *grid, int64_t bin, int64_t last, int64_t sum)
{
    int64_t step = 1;
    for (; bin <= last && reach(grid, bin + step - 1, last) < sum; step *= 2)
        bin += step;
    while (step > 1) {
        step /= 2;
        if (reach(grid, bin + step - 1, last) < sum)
            bin += step;
    }
    return bin;
}

CLONES static void settle_both(int64_t *bits, int64_t *cells, const Grid *grid, size_t n, Range range)
{
    const int64_t middle = BIT_BINS / 2, end = middle + CELLS - SKIPPED;
    int64_t bin = range.low >> SHIFT, last = range.high >> SHIFT, sum = bin + (int64_t)cell_of(value_of(range.low), grid);
    while (n && bin <= last) {
        int64_t reached = reach(grid, bin, last), found = 0;
        for (; n && sum <= reached; sum++) {
            uint32_t count = take(lanes + (middle + sum) * LANES);
            if (!count)
                continue;
            cells[sum - bin] += count;
            found += count;
            n -= count;
        }
        if (found)
            bits[bin < 0 ? middle - 1 - bin : bin] += found;
        bin++;
        if (found)
            continue;
        while (sum < end && are_clear(lanes + (middle + sum) * LANES, SKIPPED * LANES))
            sum += SKIPPED;
        bin = bin_of_sum(grid, bin, last, sum);
    }
}

/* Count n values, at most MOST, by their leading bits, and by the cells of a grid that is exact. */
static Range tally_both(const float *x, size_t n, const Grid *grid, int64_t *bits, int64_t *cells,
                        pthread_mutex_t *settling)
{
    Ranges ranges;
    clear_all(&ranges);
    size_t whole = n - n % WIDTH;
    count_both(x, whole, grid, lanes, &ranges);
    Range range = all_of(&ranges);
    widen(&range, range_of((const int32_t *)x + whole, n - whole));
    for (size_t k = whole; k < n; k++)
        lanes[((size_t)(BIT_BINS / 2 + (ordered_of(x[k]) >> SHIFT)) + cell_of(x[k], grid)) * LANES]++;
    if (range.low < ordered_of(-INFINITY) || range.high > ordered_of(INFINITY)) {
        /* NaN has no place in the order of values; nobody asks for counts with it. */
        memset(lanes, 0, sizeof lanes);
        return range;
    }
    pthread_mutex_lock(settling);
    settle_both(bits, cells, grid, n, range);
    pthread_mutex_unlock(settling);
    return range;
}
