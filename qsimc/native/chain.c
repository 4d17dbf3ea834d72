/* Chains of operators with numbers, made and counted in one pass; part of kernels.c.
 *
 * A chain makes of a tensor, its source, one tensor after the other, each out of the one before:
 *
 *     ADD     x + number
 *     MUL     x * number
 *     GATE    x * max(min(x * number + number, 1), 0), rounded after each operation
 *
 * The number of a sum or a product may be one for each channel.  Only the last tensor is written.
 *
 * Some of the tensors are counted by their leading bits, several together by one increment.  A sum with one number, or
 * a product with one, keeps the order of all values or turns it around.  So along the values of one tensor those of
 * the next ones only rise or only fall, and so do the numbers of their bins, counted in the order of values.  Add
 * these numbers up, those that fall with a minus: wherever one of them changes, the sum grows.  It therefore says in
 * which bin each tensor is, and a group of m tensors has m times the bins of one to be counted in.  Which sum means
 * which bins is found out at the end (qsimc/calibrate/together.py).
 */

/* What a program says of each tensor, the source first. */
enum { KIND, BY_CHANNEL, ROW_OF, BEGINS, FALLS, FACTS };
enum { SOURCE, ADD, MUL, GATE };

/* Tensors of a chain, and those of them that are counted, at most. */
enum { VALUES = 16, MEMBERS = 8 };

/* Vectors that go through a chain together, in registers, and the values in those. */
enum { AT_ONCE = 4, TILE = WIDTH * AT_ONCE };

/* One tensor of a chain, and what makes it. */
typedef struct {
    int64_t kind, by_channel;
    float numbers[2];
    int64_t *row;            /* NULL if it is not counted */
    int begins, ends, falls; /* a group; when the first of its group rises */
} Value;

/* Tensors [begin, end) of a chain; the first and the last are counted, together with others between them. */
typedef struct {
    size_t begin, end;
    size_t table, origin; /* the place where its counts begin, and that of the sum zero */
    Unsigneds lanes_of_origin;
} Group;

/* The numbers of a step, repeated along a vector. */
typedef Floats Repeated[2];

typedef struct {
    const float *x, *channels;
    float *made;
    size_t n, parts;
    size_t block, blocks, length; /* blocks of channels; values that lie together in each, for one sample */
    size_t values, groups;
    Value value[VALUES];
    Group group[MEMBERS];
    Range (*ranges)[MEMBERS]; /* of the first tensor of each group, in each part */
    int failed;
    pthread_mutex_t settling;
} Chain;

static pthread_key_t sums_key;
static pthread_once_t sums_once = PTHREAD_ONCE_INIT;
static int has_sums_key;

static void make_sums_key(void) { has_sums_key = !pthread_key_create(&sums_key, free); }

/* Where this thread counts sums: LANES copies of BIT_BINS places for each tensor, all zero between chains; NULL if there
 * is no memory.  It is not among the thread's own variables, because few of these pages are ever needed. */
static uint32_t *sums_of_thread(void)
{
    pthread_once(&sums_once, make_sums_key);
    if (!has_sums_key)
        return NULL;
    uint32_t *sums = pthread_getspecific(sums_key);
    if (!sums && (sums = calloc((size_t)MEMBERS * BIT_BINS * LANES, sizeof *sums)) &&
        pthread_setspecific(sums_key, sums)) {
        free(sums);
        return NULL;
    }
    return sums;
}

/* ---- Making and counting ---- */

static inline __attribute__((always_inline)) void let_through(Floats *x, const Repeated *with)
{
    Floats share = *x * (*with)[0] + (*with)[1];
    Ints small = share < 1.0f, positive = share > 0.0f, one = (Ints)((Floats){0} + 1.0f);
    *x *= (Floats)((((Ints)share & small) | (one & ~small)) & positive);
}

/* Where a tile is still to be counted. */
typedef struct {
    const uint32_t *next, *end;
} Pending;

static inline __attribute__((always_inline)) void count_some(uint32_t *sums, Pending *pending, size_t most)
{
    const uint32_t *place = pending->next, *end = pending->end;
    end = (size_t)(end - place) < most ? end : place + most;
    for (; place < end; place += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sums[place[lane]]++;
    pending->next = place;
}

/* Make a tile in place, and write for each group where it is counted.
 *
 * `most` places of another tile are counted with every step, meanwhile (see `count_cells`). */
static inline __attribute__((always_inline)) void make_tile(const Chain *chain, const Repeated *numbers, Floats *tile,
                                                            Unsigneds (*places)[AT_ONCE], Ranges *firsts, uint32_t *sums,
                                                            Pending pending, size_t most)
{
#define EACH for (size_t j = 0; j < AT_ONCE; j++)
    Floats made[AT_ONCE] = {{0}};
    Ints bins[AT_ONCE] = {{0}};
    EACH made[j] = tile[j];
    const Group *group = chain->group;
    for (const Value *value = chain->value, *end = value + chain->values; value < end; value++, numbers++) {
        count_some(sums, &pending, most);
        switch (value->kind) {
        case ADD:
            EACH made[j] += (*numbers)[0];
            break;
        case MUL:
            EACH made[j] *= (*numbers)[0];
            break;
        case GATE:
            EACH let_through(made + j, numbers);
            break;
        }
        if (!value->row)
            continue;
        Ints ordered[AT_ONCE];
        EACH ordered[j] = (Ints)made[j];
        EACH order(ordered + j);
        if (value->begins) {
            EACH widen_all(firsts, ordered + j);
            EACH bins[j] = ordered[j] >> SHIFT;
            firsts++;
        } else if (value->falls)
            EACH bins[j] -= ordered[j] >> SHIFT;
        else
            EACH bins[j] += ordered[j] >> SHIFT;
        if (value->ends) {
            EACH (*places)[j] = (Unsigneds)bins[j] * LANES + group->lanes_of_origin;
            places++;
            group++;
        }
    }
    EACH tile[j] = made[j];
#undef EACH
}

/* Make and count n values of one block of channels. */
CLONES static void make_and_count(const Chain *chain, const Repeated *numbers, const float *x, float *made, size_t n,
                                  uint32_t *sums, Ranges *firsts)
{
    union {
        Floats vectors[AT_ONCE];
        float values[TILE];
    } tile;
    union {
        Unsigneds vectors[MEMBERS][AT_ONCE];
        uint32_t values[MEMBERS][TILE];
    } places[2];
    Pending pending = {places->values[0], places->values[0]};
    size_t turn = 0, most = (chain->groups * TILE / LANES + chain->values - 1) / chain->values * LANES;
    for (; n >= TILE; x += TILE, made += TILE, n -= TILE, turn ^= 1) {
        memcpy(&tile, x, sizeof tile);
        make_tile(chain, numbers, tile.vectors, places[turn].vectors, firsts, sums, pending, most);
        memcpy(made, &tile, sizeof tile);
        pending = (Pending){places[turn].values[0], places[turn].values[0] + chain->groups * TILE};
    }
    if (n == 0) {
        count_some(sums, &pending, chain->groups * TILE);
        return;
    }
    memcpy(&tile, x, n * sizeof *x);
    /* What fills the tile up widens no range: it is of the same channels. */
    for (size_t k = n; k < TILE; k++)
        tile.values[k] = tile.values[k % chain->block];
    make_tile(chain, numbers, tile.vectors, places[turn].vectors, firsts, sums, pending, most);
    memcpy(made, &tile, n * sizeof *made);
    for (size_t group = 0; group < chain->groups; group++)
        for (size_t k = 0; k < n; k++)
            sums[places[turn].values[group][k]]++;
}

static void repeat_numbers(const Chain *chain, const float *channels, Repeated *numbers)
{
    for (const Value *value = chain->value; value < chain->value + chain->values; value++, numbers++)
        for (size_t lane = 0; lane < WIDTH; lane++) {
            (*numbers)[0][lane] = value->by_channel ? channels[lane % chain->block] : value->numbers[0];
            (*numbers)[1][lane] = value->numbers[1];
        }
}

/* Make and count values [start, end). */
static void make_values(const Chain *chain, size_t start, size_t end, uint32_t *sums, Ranges *firsts)
{
    Repeated numbers[VALUES];
    for (size_t size; start < end; start += size) {
        size_t plane = start / chain->length, rest = (plane + 1) * chain->length - start;
        size = end - start < rest ? end - start : rest;
        repeat_numbers(chain, chain->channels + plane % chain->blocks * chain->block, numbers);
        make_and_count(chain, numbers, chain->x + start, chain->made + start, size, sums, firsts);
    }
}

/* ---- From the lanes to the tally ---- */

/* What the value makes of one of the value before it, if both are of a group. */
static float step_of(const Value *value, float x)
{
    return value->kind == ADD ? x + value->numbers[0] : x * value->numbers[0];
}

/* Where a group is counted when its first tensor has a value, given as ordered bits. */
static size_t place_of_first(const Chain *chain, const Group *group, int32_t first)
{
    int64_t sum = (int64_t)group->origin;
    float x = value_of(first);
    for (const Value *value = chain->value + group->begin; value < chain->value + group->end; value++) {
        x = value->begins ? x : step_of(value, x);
        int32_t bin = ordered_of(x) >> SHIFT;
        sum += !value->row ? 0 : value->falls ? -bin : bin;
    }
    return (size_t)sum;
}

/* Add the lanes of places [start, end) up into the rows of a group, which hold its counts one after the other, and
 * clear them; return how many of n values are left. */
CLONES static size_t settle_places(uint32_t *sums, const Group *group, int64_t *const *rows, size_t start, size_t end,
                                   size_t n)
{
    for (size_t place = start; n && place < end; place++) {
        uint32_t *copies = sums + place * LANES;
        if (end - place >= SKIPPED && are_clear(copies, SKIPPED * LANES)) {
            place += SKIPPED - 1;
            continue;
        }
        size_t bin = place - group->table, sum = take(copies);
        if (sum)
            rows[bin / BIT_BINS][BIT_COUNTS + bin % BIT_BINS] += (int64_t)sum;
        n -= sum;
    }
    return n;
}

static void settle_group(const Chain *chain, const Group *group, uint32_t *sums, size_t n, Range range)
{
    int64_t *rows[MEMBERS];
    size_t count = 0;
    for (const Value *value = chain->value + group->begin; value < chain->value + group->end; value++)
        if (value->row)
            rows[count++] = value->row;
    size_t start = place_of_first(chain, group, range.low), last = place_of_first(chain, group, range.high);
    n = settle_places(sums, group, rows, start, last + 1, n);
    /* NaN has no place in the order of values. */
    settle_places(sums, group, rows, group->table, group->table + count * BIT_BINS, n);
}

static void chain_part(void *chain_, size_t part)
{
    Chain *chain = chain_;
    /* A part begins with a block of channels. */
    size_t share = chain->n / chain->parts / TILE * TILE;
    size_t start = share * part, end = part + 1 == chain->parts ? chain->n : start + share;
    Range *ranges = chain->ranges[part];
    for (size_t k = 0; k < chain->groups; k++)
        ranges[k] = (Range){INT32_MAX, INT32_MIN};
    uint32_t *sums = sums_of_thread();
    if (!sums) {
        __atomic_store_n(&chain->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (size_t size; start < end; start += size) {
        size = end - start < MOST ? end - start : MOST;
        Ranges firsts[MEMBERS];
        for (size_t k = 0; k < chain->groups; k++)
            clear_all(firsts + k);
        make_values(chain, start, start + size, sums, firsts);
        pthread_mutex_lock(&chain->settling);
        for (size_t k = 0; k < chain->groups; k++) {
            Range range = all_of(firsts + k);
            settle_group(chain, chain->group + k, sums, size, range);
            widen(ranges + k, range);
        }
        pthread_mutex_unlock(&chain->settling);
    }
}

/* Extend the ranges in the rows: the ends of a group's first tensor give those of the others. */
static void finish_chain(const Chain *chain)
{
    for (size_t k = 0; k < chain->groups; k++) {
        const Group *group = chain->group + k;
        Range range = {INT32_MAX, INT32_MIN};
        for (size_t part = 0; part < chain->parts; part++)
            widen(&range, chain->ranges[part][k]);
        float ends[2] = {value_of(range.low), value_of(range.high)};
        for (const Value *value = chain->value + group->begin; value < chain->value + group->end; value++)
            for (size_t end = 0; end < 2; end++) {
                ends[end] = value->begins ? ends[end] : step_of(value, ends[end]);
                int32_t ordered = ordered_of(ends[end]);
                widen_row(value->row, (Range){ordered, ordered});
            }
    }
}

/* ---- Reading a program ---- */

/* Give the groups their places. */
static void lay_out_groups(Chain *chain)
{
    size_t next = 0;
    for (Group *group = chain->group; group < chain->group + chain->groups; group++) {
        group->table = group->origin = next;
        for (const Value *value = chain->value + group->begin; value < chain->value + group->end; value++)
            if (value->row) {
                /* The bins of a tensor have the numbers -BIT_BINS / 2 to BIT_BINS / 2 - 1. */
                group->origin += BIT_BINS / 2 - (size_t)value->falls;
                next += BIT_BINS;
            }
        for (size_t lane = 0; lane < WIDTH; lane++)
            group->lanes_of_origin[lane] = (uint32_t)(group->origin * LANES + lane % LANES);
        chain->value[group->end - 1].ends = 1;
    }
}

/* Read a program: facts, and two numbers for each tensor.  NULL, or what is wrong with it. */
static const char *read_program(Chain *chain, const int64_t *facts, size_t fact_count, const float *numbers,
                                size_t number_count, int64_t *tally, size_t rows)
{
    chain->values = fact_count / FACTS;
    if (fact_count % FACTS || chain->values > VALUES || number_count != 2 * chain->values)
        return "a program has so many facts of a tensor, of so many tensors, and two numbers for each";
    size_t members = 0;
    int goes_on = 0; /* whether the next tensor may be of the same group */
    for (size_t k = 0; k < chain->values; k++, facts += FACTS, numbers += 2) {
        Value *value = chain->value + k;
        *value = (Value){.kind = facts[KIND],
                         .by_channel = facts[BY_CHANNEL],
                         .numbers = {numbers[0], numbers[1]},
                         .begins = facts[BEGINS] != 0,
                         .falls = facts[FALLS] != 0};
        if ((value->kind == SOURCE) != (k == 0) || value->kind < SOURCE || value->kind > GATE)
            return "the source comes first, and then what there is a kind of";
        if (value->by_channel && ((value->kind != ADD && value->kind != MUL) || !chain->channels))
            return "there is not a number for each channel";
        goes_on = value->begins || (goes_on && value->kind != GATE && !value->by_channel);
        if (facts[ROW_OF] < 0 ? value->begins : !goes_on || (value->begins && value->falls))
            return "a group begins with what is counted, and goes on with sums and products";
        if (facts[ROW_OF] < 0)
            continue;
        if ((size_t)facts[ROW_OF] >= rows || ++members > MEMBERS)
            return "the tally has no such row, or too much is counted";
        value->row = tally + (size_t)facts[ROW_OF] * BITS_ROW;
        if (value->begins)
            chain->group[chain->groups++].begin = k;
        chain->group[chain->groups - 1].end = k + 1;
    }
    lay_out_groups(chain);
    return chain->groups ? NULL : "a chain counts something";
}
