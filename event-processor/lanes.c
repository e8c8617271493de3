#include "event-processor/lanes.h"

#include "common/mem.h"

enum {
    NS_PER_MS = 1000000,
    /* What waits here shall not do so for longer, if another processor could run it. */
    RESERVE_NS = 200 * NS_PER_MS,
    MEAN_OF = 16,     /* runs, about */
    KEPT_PART = 2,    /* one in so many runs is kept for those that don't use theirs */
    HELD_PER_RUN = 4, /* deliveries in hand for each run at once, at most ... */
    HELD_BEYOND = 64, /* ... but so many beside those that run where that is more */
    WAIT_MS =
        200, /* for room where nobody else waits; also how long a stop may take to be noticed */
    PROBE_MS = 20, /* ... but others may be waiting for what is behind it */
    PUT_OFF_MIN_MS = 100,
    PUT_OFF_MAX_MS = 30000,
    FOR_LONG_MS = 1000,
};

/* ---- life ---- */

static bool ends_at_once(const struct lane *lane)
{
    return !lane->handler->kind->cancel;
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What is kept for others is out of a lane's reach, even while they don't use it. */
static void share_runs(struct lanes *lanes)
{
    uint32_t sharing = 0;
    for (size_t i = 0; i < lanes->count; i++) {
        sharing += !ends_at_once(&lanes->list[i]);
        lanes->list[i].most =
            lesser(lanes->list[i].handler->retry->concurrency, lanes->concurrency);
    }
    if (sharing < 2 || lanes->concurrency < sharing)
        return;
    uint32_t share = lanes->concurrency / KEPT_PART / sharing;
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->list[i];
        if (!ends_at_once(lane))
            lane->kept = lesser(share > 1 ? share : 1, lane->most);
        lanes->owed += lane->kept;
    }
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->list[i];
        if (!ends_at_once(lane))
            lane->most = lesser(lane->most, lanes->concurrency - (lanes->owed - lane->kept));
    }
}

size_t lanes_places(size_t handlers, uint32_t concurrency)
{
    size_t beyond = (size_t)concurrency * (HELD_PER_RUN - 1);
    size_t one = concurrency + (beyond > HELD_BEYOND ? beyond : HELD_BEYOND);
    size_t each = handlers * ((size_t)concurrency + HELD_BEYOND);
    return handlers > 1 && each > one ? each : one;
}

enum err lanes_init(struct lanes *lanes, const struct handlers *handlers, uint32_t concurrency,
                    size_t bytes)
{
    size_t count = handlers_count(handlers);
    *lanes = (struct lanes){.count = count,
                            .concurrency = concurrency,
                            .places = lanes_places(count, concurrency),
                            .bytes = bytes};
    lanes->list = mem_zero(count, sizeof *lanes->list);
    if (!lanes->list)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        lanes->list[i].handler = handlers_at(handlers, i);
    share_runs(lanes);
    return ERR_NONE;
}

void lanes_free(struct lanes *lanes)
{
    mem_free(lanes->list);
    lanes->list = NULL;
}

/* ---- how much ---- */

static struct lane *lane_of(struct lanes *lanes, const struct held *held)
{
    return &lanes->list[held->handler->index];
}

/* What a run takes, as far as is known; 0: it isn't. */
static int64_t run_takes(const struct lane *lane, int64_t now_ns)
{
    int64_t since_ns = lane->oldest ? now_ns - lane->ended_ns : 0;
    /* Those in progress may take longer than those before. */
    return lane->mean_ns > 0 && since_ns > lane->mean_ns ? since_ns : lane->mean_ns;
}

/* Deliveries beside those that run. */
static size_t spare(const struct lanes *lanes, const struct lane *lane, int64_t now_ns)
{
    int64_t takes_ns = run_takes(lane, now_ns);
    size_t runs = lane->most;
    size_t share = lanes->places / lanes->count;
    size_t most = takes_ns > 0 ? (size_t)((int64_t)runs * RESERVE_NS / takes_ns) : 0;
    return most < share - runs ? most : share - runs;
}

static size_t lane_room(const struct lanes *lanes, const struct lane *lane, int64_t now_ns)
{
    size_t most = lane->most + spare(lanes, lane, now_ns);
    return lane->held < most ? most - lane->held : 0;
}

struct lanes_want lanes_want(const struct lanes *lanes, int64_t now_ns)
{
    struct lanes_want want = {.wait_ms = lanes->count > 1 ? PROBE_MS : WAIT_MS};
    size_t missing = SIZE_MAX; /* until the first lane that is in use makes a fetch worthwhile */
    size_t rooms = 0, busy_room = 0, largest = 0;
    for (size_t i = 0; i < lanes->count; i++) {
        const struct lane *lane = &lanes->list[i];
        size_t beyond = spare(lanes, lane, now_ns);
        size_t room = lane_room(lanes, lane, now_ns);
        size_t worth = beyond / 3 > 0 ? beyond / 3 : 1;
        want.most += lane->most + beyond;
        rooms += room;
        largest = room > largest ? room : largest;
        if (lane->held == 0 && lanes->count > 1)
            continue;
        busy_room = room > busy_room ? room : busy_room;
        size_t lacking = room < worth ? worth - room : 0;
        missing = lacking < missing ? lacking : missing;
    }
    bool idle = missing == SIZE_MAX;
    want.fit = busy_room > 0 && !idle ? busy_room : largest;
    want.places = idle || lanes->mixed || missing == 0 ? 1 : rooms + missing;
    if (lanes->count == 1) {
        size_t beyond = spare(lanes, lanes->list, now_ns);
        want.places = beyond / 3 > 0 ? beyond / 3 : 1;
        want.fit = SIZE_MAX;
    }
    return want;
}

/* ---- adding ---- */

static size_t bytes_of(const struct held *held)
{
    return held->record ? held->record->payload.len : 0;
}

static bool fits(const struct lanes *lanes, const struct lane *lane, const struct held *held,
                 int64_t now_ns)
{
    size_t bytes = bytes_of(held);
    if (lanes->count == 1 || lane->held == 0 || held->place.claiming || held->alone)
        return true;
    return lane_room(lanes, lane, now_ns) > 0 && lane->bytes + bytes <= lanes->bytes / lanes->count;
}

/* They come back one by one, a little faster than the handler gets through them, and not slower
 * than one in RESERVE_NS: another processor may have nothing to do. */
static int64_t delay_of_next(struct lane *lane, int64_t now_ns)
{
    int64_t since_ns = lane->ended_ns > 0 ? now_ns - lane->ended_ns : 0;
    int64_t takes_ns = lane->mean_ns > 0 ? run_takes(lane, now_ns) : since_ns;
    int64_t step_ns = takes_ns / lane->most / 5 * 4;
    int64_t first_ns = now_ns + (takes_ns < RESERVE_NS ? takes_ns : RESERVE_NS);
    int64_t last_ns = now_ns + (int64_t)PUT_OFF_MAX_MS * NS_PER_MS;
    int64_t back_ns = lane->back_ns + (step_ns < RESERVE_NS ? step_ns : RESERVE_NS);
    if (back_ns < first_ns)
        back_ns = first_ns;
    lane->back_ns = back_ns < last_ns ? back_ns : last_ns;
    int64_t delay_ms = (lane->back_ns - now_ns) / NS_PER_MS;
    return delay_ms < PUT_OFF_MIN_MS ? PUT_OFF_MIN_MS : delay_ms;
}

/* What the bus has been given back counts among the group's pending acknowledgements until it has
 * come again. Were there too many of them, nobody would get anything from the event log. */
bool lanes_put_off(struct lanes *lanes, struct held *held, int64_t now_ns)
{
    struct lane *lane = lane_of(lanes, held);
    if (fits(lanes, lane, held, now_ns))
        return false;
    if (now_ns >= lane->back_ns + (int64_t)PUT_OFF_MIN_MS * NS_PER_MS)
        lane->back = 0;
    int64_t delay_ms = delay_of_next(lane, now_ns);
    held->place = (struct run_place){.delay_ms = delay_ms};
    if (held->source.log == STATUS_DELIVERY_RETRY)
        return true;
    held->place.for_long = delay_ms >= FOR_LONG_MS || lane->back >= lanes->places / lanes->count;
    lane->back += !held->place.for_long;
    return true;
}

bool lanes_put_off_item(struct lanes *lanes, const struct handler *handler, int64_t now_ns,
                        int64_t *ret_delay_ms)
{
    struct lane *lane = &lanes->list[handler->index];
    if (lanes->count == 1 || lane->held == 0 || lane_room(lanes, lane, now_ns) > 0)
        return false;
    *ret_delay_ms = delay_of_next(lane, now_ns);
    return true;
}

static void take_place(struct lane *lane, struct held *held)
{
    held->place = (struct run_place){.bytes = bytes_of(held)};
    lane->held++;
    lane->bytes += held->place.bytes;
}

static void free_place(struct lane *lane, const struct held *held)
{
    lane->held--;
    lane->bytes -= held->place.bytes;
}

static void add_one(struct lanes *lanes, struct held *held)
{
    struct lane *lane = lane_of(lanes, held);
    if (held->place.claiming) {
        held_queue_add(&lanes->claimed, held);
        return;
    }
    take_place(lane, held);
    held_queue_add(held->alone ? &lanes->alone : &lane->waiting, held);
}

void lanes_add(struct lanes *lanes, struct held *list, int64_t now_ns, struct held **ret_put_off)
{
    struct held_queue put_off = {0};
    struct held *next;
    bool worth = false;
    for (struct held *held = list; held; held = next) {
        next = held->next;
        if (lanes_put_off(lanes, held, now_ns)) {
            held_queue_add(&put_off, held);
            worth = worth || held->place.for_long; /* it is out of the way of what is behind it */
        } else {
            add_one(lanes, held);
            worth = true;
        }
    }
    lanes->mixed = worth && put_off.first;
    *ret_put_off = put_off.first;
}

/* ---- runs ---- */

static bool may_start(const struct lanes *lanes, const struct lane *lane)
{
    if (!lane->waiting.first || lane->running >= lane->most)
        return false;
    return ends_at_once(lane) || lane->running < lane->kept ||
           lanes->running + lanes->owed < lanes->concurrency;
}

/* count: none may. */
static size_t next_lane(const struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->count; i++) {
        size_t at = (lanes->turn + i) % lanes->count;
        if (may_start(lanes, &lanes->list[at]))
            return at;
    }
    return lanes->count;
}

bool lanes_may_take(const struct lanes *lanes)
{
    if (lanes->claimed.first)
        return true;
    if (lanes->alone.first || lanes->running_alone)
        return !lanes->running_alone && lanes->all_running == 0;
    return next_lane(lanes) < lanes->count;
}

static void count_run(struct lanes *lanes, struct lane *lane)
{
    lanes->all_running++;
    if (lane->running < lane->kept)
        lanes->owed--;
    lane->running++;
    if (!ends_at_once(lane))
        lanes->running++;
}

static void end_claim(struct lanes *lanes, struct held *held)
{
    held->place.claiming = false;
    lanes->claiming--;
}

struct held *lanes_take(struct lanes *lanes)
{
    if (!lanes_may_take(lanes))
        return NULL;
    struct held *held = held_queue_take(&lanes->claimed);
    if (held) {
        end_claim(lanes, held);
        return held;
    }
    held = held_queue_take(&lanes->alone);
    if (held) {
        lanes->running_alone = held;
    } else {
        size_t at = next_lane(lanes);
        held = held_queue_take(&lanes->list[at].waiting);
        lanes->turn = (at + 1) % lanes->count;
    }
    count_run(lanes, lane_of(lanes, held));
    return held;
}

void lanes_claim(struct lanes *lanes, struct held *held)
{
    held->place.claiming = true;
    lanes->claiming++;
}

void lanes_begin(struct lanes *lanes, struct held *held, int64_t now_ns)
{
    struct lane *lane = lane_of(lanes, held);
    held->began_ns = now_ns;
    if (lane->ended_ns == 0 || !lane->oldest) /* how long nothing ran says nothing */
        lane->ended_ns = now_ns;
    held->place.limited = true;
    held->place.later = NULL;
    held->place.earlier = lane->newest;
    if (lane->newest)
        lane->newest->place.later = held;
    else
        lane->oldest = held;
    lane->newest = held;
}

void lanes_forget_limit(struct lanes *lanes, struct held *held)
{
    struct lane *lane = lane_of(lanes, held);
    struct run_place *place = &held->place;
    if (!place->limited)
        return;
    place->limited = false;
    if (place->earlier)
        place->earlier->place.later = place->later;
    else
        lane->oldest = place->later;
    if (place->later)
        place->later->place.earlier = place->earlier;
    else
        lane->newest = place->earlier;
}

static void note_duration(struct lane *lane, int64_t ns, int64_t now_ns)
{
    lane->ended_ns = now_ns;
    lane->mean_ns += lane->mean_ns ? (ns - lane->mean_ns) / MEAN_OF : ns;
    if (lane->mean_ns < 1)
        lane->mean_ns = 1;
}

void lanes_end(struct lanes *lanes, struct held *held, int64_t now_ns)
{
    struct lane *lane = lane_of(lanes, held);
    lanes_forget_limit(lanes, held);
    if (held->began_ns)
        note_duration(lane, now_ns - held->began_ns + 1, now_ns);
    free_place(lane, held);
    lane->running--;
    if (lane->running < lane->kept)
        lanes->owed++;
    if (!ends_at_once(lane))
        lanes->running--;
    lanes->all_running--;
    if (!held->began_ns)
        lanes_end_alone(lanes, held);
    held->began_ns = 0; /* its outcome may take long: it isn't that of a run */
}

void lanes_give_up(struct lanes *lanes, struct held *held)
{
    if (!held->place.claiming)
        return;
    end_claim(lanes, held);
    lanes_end(lanes, held, 0);
}

void lanes_end_alone(struct lanes *lanes, const struct held *held)
{
    if (lanes->running_alone == held)
        lanes->running_alone = NULL;
}

int64_t lanes_next_limit(const struct lanes *lanes, struct held **ret_held)
{
    int64_t next_ns = INT64_MAX;
    for (size_t i = 0; i < lanes->count; i++) {
        const struct lane *lane = &lanes->list[i];
        int64_t limit_ns;
        if (!lane->oldest)
            continue;
        limit_ns = lane->oldest->began_ns + lane->handler->retry->timeout_ms * NS_PER_MS;
        if (limit_ns < next_ns) {
            next_ns = limit_ns;
            *ret_held = lane->oldest;
        }
    }
    return next_ns;
}

static void clear(struct lanes *lanes, struct held_queue *waiting, struct held_queue *out)
{
    struct held *held;
    while ((held = held_queue_take(waiting)) != NULL) {
        free_place(lane_of(lanes, held), held);
        held_queue_add(out, held);
    }
}

struct held *lanes_clear(struct lanes *lanes, bool claimed)
{
    struct held_queue out = {0};
    struct held *held;
    clear(lanes, &lanes->alone, &out);
    for (size_t i = 0; i < lanes->count; i++)
        clear(lanes, &lanes->list[i].waiting, &out);
    while (claimed && (held = held_queue_take(&lanes->claimed)) != NULL) {
        lanes_give_up(lanes, held);
        held_queue_add(&out, held);
    }
    return out.first;
}
