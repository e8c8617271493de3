#include "event-processor/processor.h"

#include "event-processor/wait.h"

enum {
    STATUS_LOG_GRACE_MS = 500, /* so that what the last run has brought is stored */
    SNAPSHOT_GRACE_MS = 1000,
};

static enum err open_logs(const struct processor_options *o, struct processor *p)
{
    struct bus_log_spec spec;
    settings_event_log(&o->settings->shared, &p->event_names, &spec);
    enum err e = bus_log_open(o->bus, &spec, &p->event_log);
    if (e)
        return e;
    settings_status_log(&o->settings->shared, o->settings->group, &p->status_names, &spec);
    e = bus_log_open(o->bus, &spec, &p->status_records);
    if (e)
        return e;
    settings_retry_log(&o->settings->shared, o->settings->group, &p->retry_names, &spec);
    e = bus_log_open(o->bus, &spec, &p->retry_items);
    if (e)
        return e;
    settings_dead_log(&o->settings->shared, &p->dead_names, &spec);
    return bus_log_open(o->bus, &spec, &p->dead_letters);
}

static enum err new_snapshots(const struct processor_options *o, struct processor *p)
{
    if (!o->settings->data || o->settings->snapshot_interval_ms == 0)
        return ERR_NONE;
    return snapshots_new(
        &(struct snapshots_options){.folder = o->settings->data,
                                    .event_stream = p->event_names.stream,
                                    .status_stream = p->status_names.stream,
                                    .table = p->table,
                                    .replays = p->replays,
                                    .clock = o->clock,
                                    .metrics = o->metrics,
                                    .interval_ms = o->settings->snapshot_interval_ms},
        &p->snapshots);
}

static enum err start_answering(const struct processor_options *o, struct processor *p)
{
    const char *ns = o->settings->shared.ns;
    enum err e = status_table_new(&p->table);
    if (!e)
        e = replays_new(&p->replays);
    if (!e)
        e = changes_new(CHANGES_KEPT, &p->changes);
    if (!e)
        e = new_snapshots(o, p);
    if (!e)
        e = follower_start(&(struct follower_options){.event_log = p->event_log,
                                                      .event_stream = p->event_names.stream,
                                                      .ns = ns,
                                                      .status_log = p->status_records,
                                                      .table = p->table,
                                                      .replays = p->replays,
                                                      .changes = p->changes,
                                                      .metrics = o->metrics,
                                                      .load = p->snapshots ? snapshots_load : NULL,
                                                      .load_ctx = p->snapshots},
                           &p->follower);
    if (!e)
        e = snapshots_start(p->snapshots, p->follower);
    if (!e)
        e = query_start(&(struct query_options){.event_log = p->event_log,
                                                .event_stream = p->event_names.stream,
                                                .ns = ns,
                                                .source = o->settings->shared.source,
                                                .status_log = p->status_records,
                                                .follower = p->follower,
                                                .table = p->table,
                                                .metrics = o->metrics},
                        &p->query);
    return e;
}

static struct event_find walk_options(const struct processor_options *o, const struct processor *p)
{
    return (struct event_find){.event_log = p->event_log,
                               .event_stream = p->event_names.stream,
                               .ns = o->settings->shared.ns,
                               .table = p->table};
}

static struct replay_letters_options letters_options(const struct processor_options *o,
                                                     const struct processor *p)
{
    return (struct replay_letters_options){
        .log = p->dead_letters, .ns = o->settings->shared.ns, .group = o->settings->group};
}

static enum err start_replaying(const struct processor_options *o, struct processor *p)
{
    enum err e =
        replayer_start(&(struct replayer_options){.walk = walk_options(o, p),
                                                  .letters = letters_options(o, p),
                                                  .status_records = p->status_records,
                                                  .status_subject = p->status_names.subject,
                                                  .retry_log = p->retry_items,
                                                  .retry_subject = p->retry_names.subject,
                                                  .group = o->settings->group,
                                                  .processor = o->name,
                                                  .follower = p->follower,
                                                  .replays = p->replays,
                                                  .clock = o->clock,
                                                  .metrics = o->metrics,
                                                  .silent_ms = o->replay_silent_ms},
                       &p->replayer);
    if (e)
        return e;
    return replay_desk_start(
        &(struct replay_desk_options){.walk = walk_options(o, p),
                                      .letters = letters_options(o, p),
                                      .status_records = p->status_records,
                                      .status_subject = p->status_names.subject,
                                      .source = o->settings->shared.source,
                                      .processor = o->name,
                                      .follower = p->follower,
                                      .replays = p->replays,
                                      .clock = o->clock},
        &p->desk);
}

static enum err start_handlers(const struct processor_options *o, struct processor *p,
                               struct err_detail *detail)
{
    enum err e = timer_start(o->settings->concurrency, &p->timer);
    if (e)
        return e;
    p->tools.timer = p->timer;
    p->tools.concurrency = (uint32_t)o->settings->concurrency;
    return handlers_open(o->handlers, &p->tools, &p->handlers, detail);
}

static enum err start_working(const struct processor_options *o, struct processor *p)
{
    const struct processor_settings *s = o->settings;
    enum err e = status_log_start(&(struct status_log_options){.bus = o->bus,
                                                               .log = p->status_records,
                                                               .subject = p->status_names.subject,
                                                               .processor = view_of(o->name),
                                                               .metrics = o->metrics},
                                  &p->status_log);
    if (e)
        return e;
    struct consumer_options options = {
        .event_log = p->event_log,
        .event_stream = p->event_names.stream,
        .status_records = p->status_records,
        .retry_log = p->retry_items,
        .retry_subject = p->retry_names.subject,
        .dead_log = p->dead_letters,
        .ns = s->shared.ns,
        .group = s->group,
        .ack_wait_ms = s->ack_wait_ms,
        .max_ack_pending = (uint32_t)s->max_ack_pending,
        .concurrency = (uint32_t)s->concurrency,
        .follower = p->follower,
        .table = p->table,
        .status_log = p->status_log,
        .processor = view_of(o->name),
        .handlers = p->handlers,
        .clock = o->clock,
        .metrics = o->metrics,
    };
    return consumer_start(&options, &p->consumer);
}

enum err processor_start(const struct processor_options *options, struct processor *processor,
                         struct err_detail *detail)
{
    *processor = (struct processor){0};
    err_set(detail, ERR_MEMORY, "out of memory");
    enum err e = start_handlers(options, processor, detail);
    if (!e)
        e = open_logs(options, processor);
    if (!e)
        e = start_answering(options, processor);
    if (!e)
        e = start_replaying(options, processor);
    if (!e)
        e = start_working(options, processor);
    if (e)
        processor_stop(processor);
    return e;
}

bool processor_drain(struct processor *processor, int64_t timeout_ms)
{
    struct timespec until = wait_until(timeout_ms);
    replay_desk_drain(processor->desk);
    replayer_stop(processor->replayer);
    bool done = consumer_drain(processor->consumer, timeout_ms);
    timer_stop(processor->timer);
    int64_t left_ms = wait_left_ms(until);
    status_log_stop(processor->status_log,
                    left_ms > STATUS_LOG_GRACE_MS ? left_ms : STATUS_LOG_GRACE_MS);
    left_ms = wait_left_ms(until);
    snapshots_finish(processor->snapshots,
                     left_ms > SNAPSHOT_GRACE_MS ? left_ms : SNAPSHOT_GRACE_MS);
    return done;
}

void processor_give_up(struct processor *processor)
{
    follower_stop(processor->follower);
}

void processor_stop(struct processor *processor)
{
    if (!processor->consumer && processor->timer)
        timer_stop(processor->timer);
    if (!processor->consumer && processor->status_log)
        status_log_stop(processor->status_log, 0);
    if (processor->replayer)
        replayer_stop(processor->replayer);
    snapshots_stop(processor->snapshots);
    if (processor->follower)
        follower_stop(processor->follower);
    replay_desk_stop(processor->desk);
    query_stop(processor->query);
    replayer_free(processor->replayer);
    consumer_free(processor->consumer);
    follower_free(processor->follower);
    handlers_close(processor->handlers);
    timer_free(processor->timer);
    processor->desk = NULL;
    processor->query = NULL;
    processor->replayer = NULL;
    processor->follower = NULL;
    processor->consumer = NULL;
    processor->handlers = NULL;
    processor->timer = NULL;
}

void processor_free(struct processor *processor)
{
    status_log_free(processor->status_log);
    snapshots_free(processor->snapshots);
    changes_free(processor->changes);
    replays_free(processor->replays);
    status_table_free(processor->table);
}
