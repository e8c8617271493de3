#include "event-processor/fetcher.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/retry_item.h"
#include "event-processor/evidence.h"
#include "event-processor/restart.h"

enum {
    WAIT_MS = 200, /* also how long a stop may take to be noticed */
    RETRY_MS = 100,
    READ_MS = 2000,
    PUT_OFF_MS = 1000, /* what cannot be decided here comes to a processor again so soon */
};

struct fetcher {
    struct fetcher_options with;
    const struct consumer_options *use;
    struct bus_consumer *bus;
    struct in_hand *hand;
    struct restart restart; /* of the event log's */
    struct barrier barrier;
    struct evidence evidence;
    struct wait_flag stop;
    struct wait wait; /* guards the following; woken when it changes, and for `stop` */
    bool going;       /* fetcher_go */
    bool running;     /* the thread */
    bool started;
    pthread_t thread;
    struct metric *fetched, *redelivered, *batches;
};

/* ---- taking in hand ---- */

static void identify(struct fetcher *fetcher, struct held *held)
{
    struct view name;
    held->malformed = !event_identity(held->record, fetcher->use->ns, fetcher->use->event_stream,
                                      &held->id, &name);
    held->handler = handlers_find(fetcher->use->handlers, name);
}

static struct held *take_event(struct fetcher *fetcher, struct bus_delivery *delivery)
{
    struct held *held = in_hand_take(fetcher->hand, delivery);
    if (!held)
        return NULL;
    held->source.log = STATUS_DELIVERY_EVENT;
    held->run.position = held->source.position;
    held->attempt = 1;
    identify(fetcher, held);
    return held;
}

/* False: it was settled, since nothing can be done with it now. */
static bool read_item(struct fetcher *fetcher, struct bus_delivery *delivery,
                      struct retry_item *ret)
{
    enum err e = retry_item_read(delivery->record->payload, ret);
    if (e == ERR_MEMORY) {
        bus_settle(delivery, BUS_RETRY, PUT_OFF_MS);
        return false;
    }
    if (e) {
        log_error("dropping a record of the retry log that is no attempt to come",
                  LOG_U64("position", delivery->record->position));
        bus_settle(delivery, BUS_ACK, 0);
        return false;
    }
    int64_t left_ms = ret->due_ms - clock_wall_ms(fetcher->use->clock);
    if (left_ms <= 0)
        return true;
    bus_settle(delivery, BUS_RETRY, left_ms);
    return false;
}

/* What will be run, but not here and now, is given back before anything is asked about it: of a
 * handler that is down there may be a great many. True: it was. */
static bool put_off_item(struct fetcher *fetcher, struct bus_delivery *delivery,
                         const struct retry_item *item)
{
    struct status_entry cell;
    int64_t delay_ms;
    if (!status_table_at(fetcher->use->table, item->event_position, &cell, NULL) ||
        !id_equal(&cell.id, &item->id) || item->instead_of.position != 0)
        return false;
    if (cell.name.len == 0 || cell.name.data[0] == '(') /* one name of many */
        return false;
    bool beyond = item->generation > cell.state.generation ||
                  (item->generation == cell.state.generation &&
                   item->attempt > cell.state.attempt && !status_ended(cell.state.status));
    const struct handler *handler = handlers_find(fetcher->use->handlers, cell.name);
    if (!beyond || !runner_puts_off_item(fetcher->with.runner, handler, &delay_ms))
        return false;
    bus_settle(delivery, BUS_RETRY, delay_ms);
    return true;
}

/* Where the event isn't kept its record stays NULL: the table must say so too. The same where
 * another event has its position, since the event log is not the one then that the item comes from;
 * but what has conflicted with another event is known by the id of its position. */
static bool read_event(struct fetcher *fetcher, struct held *held)
{
    struct view stream = view_of(fetcher->use->event_stream), name;
    struct event_id came_with, own;
    struct bus_record *record = NULL;
    enum err e = bus_log_read(fetcher->use->event_log, held->run.position, READ_MS, &record);
    if (e == ERR_NOT_FOUND)
        return true;
    if (e)
        return false;
    bool proper = event_identity(record, fetcher->use->ns, stream.data, &came_with, &name);
    id_of_position(stream, held->run.position, &own);
    if (!id_equal(&came_with, &held->id) && !id_equal(&own, &held->id)) {
        bus_record_free(record);
        return true;
    }
    in_hand_set_record(fetcher->hand, held, record);
    held->malformed = !proper;
    held->handler = handlers_find(fetcher->use->handlers, name);
    return true;
}

static struct held *take_item(struct fetcher *fetcher, struct bus_delivery *delivery)
{
    struct retry_item item;
    if (!read_item(fetcher, delivery, &item) || put_off_item(fetcher, delivery, &item))
        return NULL;
    struct held *held = in_hand_take(fetcher->hand, delivery);
    if (!held)
        return NULL;
    held->source.log = STATUS_DELIVERY_RETRY;
    held->run.position = item.event_position;
    held->generation = item.generation;
    held->attempt = item.attempt;
    held->instead_of = item.instead_of;
    held->id = item.id;
    held->record = NULL;
    if (read_event(fetcher, held))
        return held;
    outcomes_return(fetcher->with.outcomes, held, PUT_OFF_MS);
    return NULL;
}

static void take(struct fetcher *fetcher, struct bus_delivery *delivery, struct batch *batch)
{
    if (delivery->delivered > 1)
        metric_add(fetcher->redelivered, 1);
    struct held *held = fetcher->with.log == STATUS_DELIVERY_EVENT ? take_event(fetcher, delivery)
                                                                   : take_item(fetcher, delivery);
    if (held)
        batch_add(batch, held);
}

/* ---- fetching ---- */

/* As much as is of use here: what is held beyond that is missing elsewhere. What waits for a run
 * lasts until a fetch is worth its while. */
static size_t wait_for_room(struct fetcher *fetcher)
{
    struct lanes_want want = runner_wants(fetcher->with.runner);
    size_t most = want.most < fetcher->with.limit ? want.most : fetcher->with.limit;
    size_t room = in_hand_wait_room(fetcher->hand, most, want.places, want.wait_ms);
    want = runner_wants(fetcher->with.runner);
    if (room > 0 && want.fit == 0) /* all lanes are full of the other log's deliveries */
        wait_flag_pause(&fetcher->stop, want.wait_ms);
    return room < want.fit ? room : want.fit;
}

static bool fetch(struct fetcher *fetcher, struct batch *batch)
{
    struct bus_delivery *deliveries[BATCH_MAX];
    size_t count = 0;
    size_t room = wait_for_room(fetcher);
    if (room == 0)
        return false;
    size_t max = room < BATCH_MAX ? room : BATCH_MAX;
    enum err e = bus_fetch(fetcher->bus, WAIT_MS, deliveries, max, &count);
    if (e && e != ERR_DEADLINE) {
        log_debug("cannot fetch", LOG_TEXT("error", err_title(e)));
        wait_flag_pause(&fetcher->stop, RETRY_MS);
    }
    if (e)
        return false;
    batch->count = 0;
    batch->last = 0;
    batch->copies = false;
    metric_add(fetcher->batches, 1);
    metric_add(fetcher->fetched, count);
    for (size_t i = 0; i < count; i++)
        take(fetcher, deliveries[i], batch);
    return batch->count > 0;
}

/* ---- handing on ---- */

static bool needs_event(const struct held *held)
{
    switch ((enum decision)held->decision) {
    case DECIDE_BURY:
    case DECIDE_LOOK:
    case DECIDE_CLAIM:
    case DECIDE_CLAIM_ALONE:
    case DECIDE_FAILED:
    case DECIDE_RUN:
        return true;
    default:
        return false;
    }
}

static void hand_on(struct fetcher *fetcher, struct batch *batch, uint64_t epoch)
{
    struct held *list = NULL;
    struct held **end = &list;
    for (size_t i = 0; i < batch->count; i++) {
        struct held *held = batch->held[i];
        held->epoch = epoch;
        bool run = outcomes_decide(fetcher->with.outcomes, held);
        if (!held->record && needs_event(held)) { /* the table knows it, but its log doesn't */
            outcomes_return(fetcher->with.outcomes, held, PUT_OFF_MS);
        } else if (run) {
            *end = held;
            end = &held->next;
        } else {
            outcomes_go_on(fetcher->with.outcomes, held);
        }
    }
    runner_add(fetcher->with.runner, list);
}

static void give_back(struct fetcher *fetcher, struct batch *batch, int64_t delay_ms)
{
    for (size_t i = 0; i < batch->count; i++)
        outcomes_return(fetcher->with.outcomes, batch->held[i], delay_ms);
}

static void process(struct fetcher *fetcher, struct batch *batch)
{
    uint64_t epoch = 0;
    switch (barrier_pass(&fetcher->barrier, batch, &epoch)) {
    case BARRIER_PASSED:
        evidence_sift(&fetcher->evidence, batch, epoch);
        hand_on(fetcher, batch, epoch);
        break;
    case BARRIER_STOPPED:
        give_back(fetcher, batch, 0);
        break;
    case BARRIER_TOO_LONG:
        give_back(fetcher, batch, PUT_OFF_MS);
        break;
    }
}

/* Whether there is anything to gain from a fetch now. */
static bool may_fetch(struct fetcher *fetcher)
{
    if (!barrier_is_open(&fetcher->barrier))
        return false;
    return fetcher->with.log != STATUS_DELIVERY_EVENT || restart_tend(&fetcher->restart);
}

static void wait_to_go(struct fetcher *fetcher)
{
    wait_lock(&fetcher->wait);
    while (!fetcher->going && !wait_flag_is_set(&fetcher->stop))
        wait_on(&fetcher->wait);
    wait_unlock(&fetcher->wait);
}

static void *run_fetcher(void *arg)
{
    struct fetcher *fetcher = arg;
    struct follower_target nothing = {0};
    struct batch batch;
    wait_to_go(fetcher);
    while (!wait_flag_is_set(&fetcher->stop)) {
        if (follower_wait(fetcher->use->follower, &nothing, WAIT_MS, NULL))
            continue;
        if (!may_fetch(fetcher))
            wait_flag_pause(&fetcher->stop, RETRY_MS);
        else if (fetch(fetcher, &batch))
            process(fetcher, &batch);
    }
    wait_lock(&fetcher->wait);
    fetcher->running = false;
    wait_wake_all(&fetcher->wait);
    wait_unlock(&fetcher->wait);
    return NULL;
}

/* ---- life ---- */

static double read_in_hand(void *ctx)
{
    struct fetcher *fetcher = ctx;
    return (double)in_hand_count(fetcher->hand);
}

static double read_bytes_in_hand(void *ctx)
{
    struct fetcher *fetcher = ctx;
    return (double)in_hand_bytes(fetcher->hand);
}

static void register_metrics(struct fetcher *fetcher)
{
    struct metrics *m = fetcher->use->metrics;
    const char *labels =
        fetcher->with.log == STATUS_DELIVERY_EVENT ? "log=\"events\"" : "log=\"retry\"";
    fetcher->fetched =
        metrics_counter(m, "tidings_deliveries_fetched_total", labels, "Deliveries fetched");
    fetcher->redelivered = metrics_counter(m, "tidings_redeliveries_total", labels,
                                           "Deliveries that the bus had made before");
    fetcher->batches =
        metrics_counter(m, "tidings_fetches_total", labels, "Fetches that brought deliveries");
    fetcher->barrier.passed =
        metrics_latency(m, "tidings_barrier_seconds", labels,
                        "Time until the status table knew enough about a batch");
    metrics_gauge_read(m, "tidings_deliveries_in_hand", labels,
                       "Deliveries fetched and not settled yet", read_in_hand, fetcher);
    metrics_gauge_read(m, "tidings_deliveries_in_hand_bytes", labels, "What these deliveries take",
                       read_bytes_in_hand, fetcher);
}

static enum err open_parts(struct fetcher *fetcher)
{
    const struct fetcher_options *with = &fetcher->with;
    const struct consumer_options *use = with->use;
    bool events = with->log == STATUS_DELIVERY_EVENT;
    enum err e = in_hand_new(with->limit, with->bytes_limit, use->clock, &fetcher->hand);
    if (e)
        return e;
    fetcher->barrier = (struct barrier){.follower = use->follower,
                                        .table = use->table,
                                        .outcomes = with->outcomes,
                                        .patience_ms = use->ack_wait_ms,
                                        .stop = &fetcher->stop};
    fetcher->evidence = (struct evidence){.event_log = use->event_log,
                                          .status_log = use->status_records,
                                          .follower = use->follower,
                                          .table = use->table,
                                          .outcomes = with->outcomes};
    struct bus_consumer_spec spec = {.group = use->group,
                                     .ack_wait_ms = use->ack_wait_ms,
                                     .max_ack_pending = events ? use->max_ack_pending : 0};
    return bus_consumer_open(events ? use->event_log : use->retry_log, &spec, &fetcher->bus);
}

enum err fetcher_new(const struct fetcher_options *options, struct fetcher **ret)
{
    struct fetcher *fetcher = mem_zero(1, sizeof *fetcher);
    if (!fetcher || wait_init(&fetcher->wait)) {
        mem_free(fetcher);
        return ERR_MEMORY;
    }
    if (wait_flag_init(&fetcher->stop)) {
        wait_destroy(&fetcher->wait);
        mem_free(fetcher);
        return ERR_MEMORY;
    }
    fetcher->with = *options;
    fetcher->use = options->use;
    enum err e = open_parts(fetcher);
    if (e) {
        fetcher_free(fetcher);
        return e;
    }
    if (options->log == STATUS_DELIVERY_EVENT)
        restart_init(&fetcher->restart,
                     &(struct restart_options){.event_log = fetcher->use->event_log,
                                               .consumer = fetcher->bus,
                                               .follower = fetcher->use->follower,
                                               .table = fetcher->use->table,
                                               .metrics = fetcher->use->metrics});
    register_metrics(fetcher);
    *ret = fetcher;
    return ERR_NONE;
}

enum err fetcher_start(struct fetcher *fetcher)
{
    fetcher->running = true;
    fetcher->started = pthread_create(&fetcher->thread, NULL, run_fetcher, fetcher) == 0;
    if (fetcher->started)
        return ERR_NONE;
    fetcher->running = false;
    return ERR_MEMORY;
}

void fetcher_go(struct fetcher *fetcher)
{
    wait_lock(&fetcher->wait);
    fetcher->going = true;
    wait_wake_all(&fetcher->wait);
    wait_unlock(&fetcher->wait);
}

void fetcher_stop(struct fetcher *fetcher)
{
    wait_flag_set(&fetcher->stop);
    wait_lock(&fetcher->wait);
    wait_wake_all(&fetcher->wait);
    wait_unlock(&fetcher->wait);
}

bool fetcher_wait_end(struct fetcher *fetcher, struct timespec until)
{
    wait_lock(&fetcher->wait);
    while (fetcher->running && wait_on_until(&fetcher->wait, until))
        ;
    bool ended = !fetcher->running;
    wait_unlock(&fetcher->wait);
    return ended;
}

struct in_hand *fetcher_hand(struct fetcher *fetcher)
{
    return fetcher->hand;
}

void fetcher_join(struct fetcher *fetcher)
{
    if (fetcher->started)
        pthread_join(fetcher->thread, NULL);
    fetcher->started = false;
}

void fetcher_free(struct fetcher *fetcher)
{
    if (!fetcher)
        return;
    fetcher_join(fetcher);
    in_hand_free(fetcher->hand);
    bus_consumer_close(fetcher->bus);
    wait_flag_destroy(&fetcher->stop);
    wait_destroy(&fetcher->wait);
    mem_free(fetcher);
}
