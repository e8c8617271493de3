/* The in-memory bus's parts. Private to bus_mem*.c.
 *
 * One lock guards a whole bus. Records are immutable and counted: the log holds one reference and
 * each record handed out another, so a log may be emptied while somebody still reads.
 */
#ifndef TIDINGS_BUS_MEM_LOG_H
#define TIDINGS_BUS_MEM_LOG_H

#include "common/bus_driver.h"

#include <pthread.h>
#include <stdatomic.h>

struct mem_record {
    _Atomic uint32_t refs;
    uint64_t position;
    int64_t time_ms;
    const char *subject;
    const char *message_id; /* NULL: none */
    struct bus_header *headers;
    size_t header_count;
    struct view payload;
    uint64_t bytes;                /* what it counts against max_bytes */
    struct mem_record *same_chain; /* the next older one whose message id hashes alike */
};

/* One handing out of a record: with its payload or without. */
struct mem_handout {
    struct mem_record *record;
    struct bus_record_box box;
};

enum { MEM_CHAINS = 1024 };
struct mem_log {
    struct bus_log base;
    char *name;
    char *subject;
    struct bus_log_spec spec;
    struct mem_record **records; /* of positions first to last; NULL: deleted */
    size_t capacity;
    uint64_t first;
    uint64_t last;
    uint64_t bytes;
    int64_t created_ns;
    /* Newest first, by message id. A record has one reference for the log, be it here, in
     * `records` or in both. */
    struct mem_record *chains[MEM_CHAINS];
    struct mem_group *groups;
    struct mem_log *next;
};

struct mem_held; /* a receipt that waits */
struct mem_bus {
    struct bus base;
    struct bus_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool away;
    bool logless; /* `away` is for lack of a log */
    bool held;
    enum err unreadable; /* what bus_log_read fails with; ERR_NONE: it doesn't */
    uint32_t in_flight;
    struct mem_held *oldest_held;
    struct mem_held **held_end;
    struct mem_log *logs;
};

static inline struct mem_bus *mem_bus_of(const struct mem_log *log)
{
    return (struct mem_bus *)log->base.bus;
}

/* All of these want the bus's lock held, but mem_record_release and mem_hand_*. */
void mem_expire(struct mem_log *log); /* drops from the head what is deleted or too old */
static inline struct mem_record *mem_record_at(const struct mem_log *log, uint64_t position)
{
    bool kept = position >= log->first && position <= log->last;
    return kept ? log->records[position - log->first] : NULL;
}
uint64_t mem_log_count(const struct mem_log *log); /* records kept */
void mem_log_clear(struct mem_log *log);
void mem_log_purge(struct mem_log *log);              /* leaves positions and message ids */
void mem_log_cut(struct mem_log *log, uint64_t last); /* drops all after it */
void mem_log_delete(struct mem_log *log, uint64_t position);
void mem_log_work_done(struct mem_log *log, uint64_t position); /* leaves its message id */
struct mem_record *mem_find_message_id(const struct mem_log *log, const char *message_id);
/* Appends; ERR_FULL, ERR_MEMORY. */
enum err mem_append(struct mem_log *log, const struct bus_message *message, uint64_t *ret_position);
void mem_record_release(struct mem_record *record);
uint64_t mem_message_bytes(const struct bus_message *message);

/* Takes a reference of its own, until mem_record_release(ret->record). */
void mem_hand_out(struct mem_record *record, bool headers_only, struct mem_handout *ret);
static inline struct mem_handout *mem_handout_of(const struct bus_record *record)
{
    return (struct mem_handout *)((char *)bus_record_box_of(record) -
                                  offsetof(struct mem_handout, box));
}
struct view mem_record_header(const struct bus_record *record, const char *name);
size_t mem_record_headers(const struct bus_record *record, struct bus_header_view *ret, size_t max);

/* Waits for something to change, at most until `deadline_ms` (CLOCK_MONOTONIC) and never longer
 * than a few milliseconds, because what is due may go by a clock that only the test turns. False:
 * the deadline has passed. */
bool mem_wait(struct mem_bus *bus, int64_t deadline_ms);
int64_t mem_deadline(int64_t timeout_ms);

/* bus_mem_read.c */
enum err mem_reader_open(struct bus_log *log, uint64_t from, bool headers_only,
                         struct bus_reader **ret);
void mem_reader_close(struct bus_reader *reader);
enum err mem_reader_next(struct bus_reader *reader, int64_t timeout_ms, struct bus_record **ret,
                         size_t max, size_t *ret_count);

/* bus_mem_consume.c */
void mem_groups_free(struct mem_log *log);
enum err mem_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                           struct bus_consumer **ret);
void mem_consumer_close(struct bus_consumer *consumer);
enum err mem_consumer_restart(struct bus_consumer *consumer, int64_t timeout_ms);
enum err mem_consumer_floor(struct bus_consumer *consumer, int64_t timeout_ms,
                            uint64_t *ret_position);
enum err mem_fetch(struct bus_consumer *consumer, int64_t timeout_ms, struct bus_delivery **ret,
                   size_t max, size_t *ret_count);
void mem_settle(struct bus_delivery *delivery, enum bus_settlement how, int64_t delay_ms);
void mem_progress(struct bus_delivery *delivery);

#endif
