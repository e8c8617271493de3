/* A processor without its ports: everything between the bus and the gRPC service, started and
 * stopped in order.
 */
#ifndef TIDINGS_PROCESSOR_H
#define TIDINGS_PROCESSOR_H

#include "event-processor/consumer.h"
#include "event-processor/query.h"
#include "event-processor/replay_desk.h"
#include "event-processor/replayer.h"
#include "event-processor/settings.h"
#include "event-processor/snapshots.h"
#include "event-processor/timer.h"

struct processor_options {
    struct bus *bus;
    const struct processor_settings *settings; /* all of these must live on */
    const struct config_handlers *handlers;
    const char *name; /* of this process among others: in history, in GetStats */
    struct metrics *metrics;
    const struct clock *clock;
    int64_t replay_silent_ms; /* see replayer.h; 0: as that says */
};

struct processor {
    struct log_names event_names, status_names, retry_names, dead_names;
    struct bus_log *event_log, *status_records, *retry_items, *dead_letters;
    struct status_table *table;
    struct replays *replays;
    struct changes *changes;
    struct snapshots *snapshots; /* NULL: none are taken */
    struct follower *follower;
    struct query *query;
    struct replay_desk *desk;
    struct status_log *status_log;
    struct timer *timer;
    struct handler_tools tools;
    struct handlers *handlers;
    struct consumer *consumer;
    struct replayer *replayer;
};

/* Starts everything; works begins when the bus is ready and the table has caught up. The struct
 * must stay where it is. On failure nothing is left running; processor_free is due all the same,
 * after bus_close. */
must_check enum err processor_start(const struct processor_options *options,
                                    struct processor *processor, struct err_detail *detail);
/* Takes no more work, starts no more replays and finishes what is in progress, then takes a last
 * snapshot; queries are still answered. False: some was left when the time was over; other
 * processors will do it. */
bool processor_drain(struct processor *processor, int64_t timeout_ms);
/* For a bus that does not answer: from now on nothing waits for it, so queries that would have to
 * are answered with ERR_UNAVAILABLE. */
void processor_give_up(struct processor *processor);
/* After processor_drain, and when nobody asks or reads metrics any more. */
void processor_stop(struct processor *processor);
/* After processor_stop and bus_close. */
void processor_free(struct processor *processor);

#endif
