/* The bus: what carries and keeps events. This contract is all that the services know of it.
 *
 * Drivers: bus_nats (NATS JetStream) and bus_mem (in memory: unit tests and simulation only). A
 * driver is a const table of operations; tests/lib/bus_conformance*.c is one suite for both.
 *
 * Connection. A bus connects, reconnects for ever and makes missing logs by itself, in the
 * background. Nothing here waits for it but bus_wait_ready and the calls that take a timeout; while
 * it is away, calls fail at once with ERR_UNAVAILABLE.
 *
 * Threads. Everything may be called from any thread, except that one reader or one consumer belongs
 * to one thread at a time.
 *
 * Timeouts are bounded to a day, delays of a retry to a year.
 *
 * ERR_INVALID: an argument that no caller should pass (a subject with a wildcard or an empty token,
 * a header's value with a line break, ...). Nothing was done.
 */
#ifndef TIDINGS_BUS_H
#define TIDINGS_BUS_H

#include "common/buf.h"
#include "common/clock.h"

struct bus;
struct bus_log;
struct bus_reader;
struct bus_consumer;

/* ---- connection ---- */

struct bus_options {
    const char *url;            /* nats://host:port, several separated by commas */
    const char *name;           /* of this client, as the server's monitoring shows it */
    uint32_t max_in_flight;     /* publishes awaiting their outcome; more get ERR_BUSY. 0: 8192 */
    int64_t publish_timeout_ms; /* after it a publish is BUS_UNKNOWN. 0: 5000 */
    const struct clock *clock;  /* NULL: the system's */
};

enum bus_state {
    BUS_CONNECTING, /* never was ready yet */
    BUS_READY,
    BUS_AWAY,   /* was ready; reconnecting, or connected but silent */
    BUS_BROKEN, /* a log has settings that break a promise, or those asked for cannot be had: an
                 * operator must mend it; the detail says how. Looked at again every two seconds.
                 * What may pass (a cluster not complete yet, a lack of space) is none of it. */
};

/* The driver is chosen by the url's scheme (nats://, mem://). Starts connecting; does not wait. */
must_check enum err bus_open(const struct bus_options *options, struct bus **ret,
                             struct err_detail *detail);
/* Completes every publish (as BUS_UNKNOWN where no outcome is known), then frees. Readers,
 * consumers and deliveries must be closed before; logs are freed with the bus. May wait up to two
 * seconds for an attempt to connect. */
void bus_close(struct bus *bus);
/* detail (may be NULL): why it isn't ready */
enum bus_state bus_state(struct bus *bus, struct err_detail *detail);
/* Whether the bus itself is there and answers, whatever there is to say of its logs: with a true
 * here, a bus_state that isn't BUS_READY is about a log. detail (may be NULL): why not. */
bool bus_is_connected(struct bus *bus, struct err_detail *detail);
/* Waits until connected and all opened logs exist and are sound. ERR_DEADLINE: not yet.
 * ERR_INVALID: BUS_BROKEN. */
must_check enum err bus_wait_ready(struct bus *bus, int64_t timeout_ms, struct err_detail *detail);

/* ---- logs ---- */

enum bus_log_kind {
    BUS_LOG_KEEPS, /* records stay until they are too old */
    /* A record goes when the one group that shares the log has acknowledged it. Its message id is
     * known on. */
    BUS_LOG_WORK_QUEUE,
};

struct bus_log_spec {
    enum bus_log_kind kind;
    const char *name;            /* stream: TIDINGS_EVENTS */
    const char *subject;         /* what it holds: tidings.events.> */
    uint64_t max_bytes;          /* 0: unlimited */
    int64_t max_age_ms;          /* 0: for ever */
    int64_t duplicate_window_ms; /* above 0, and at most max_age_ms where that is set */
    uint32_t replicas;           /* 1, 3 or 5 */
    /* The name of the log that this one's records are about: this one must then keep them at least
     * as long, take them at any size, and get none from another stream. NULL: about none. */
    const char *about;
};

/* Made at the next connect where missing (file storage, limits retention, discard new, deletes and
 * purges denied, direct get allowed; a work queue: work-queue retention, purges allowed); checked
 * where it exists (BUS_BROKEN names the setting, the promise it breaks and the mending command). */
must_check enum err bus_log_open(struct bus *bus, const struct bus_log_spec *spec,
                                 struct bus_log **ret);

struct bus_log_end {
    uint64_t first;     /* first position kept */
    uint64_t last;      /* last position ever used; empty when first > last (1 and 0 at first) */
    int64_t created_ns; /* the log's life: another log of the same name has another */
    /* When its last record was stored, as record.time_ms; 0: it is empty. A log that lost its tail
     * and has grown again differs in it. */
    int64_t last_time_ms;
    uint64_t count;     /* records kept */
    int64_t max_age_ms; /* as the log has it now: at that age its records go; 0: never */
};
/* Asks the leader (never a replica). One round trip. ERR_UNAVAILABLE, ERR_DEADLINE. */
must_check enum err bus_log_end(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret);

struct bus_header {
    const char *name;  /* as written; compared without case */
    struct view value; /* no CR, LF or NUL; an empty one is left out */
};

/* A message as it is kept. Members live as long as the record; see where it was got from. */
struct bus_record {
    uint64_t position;
    int64_t time_ms; /* when the bus stored it */
    const char *subject;
    struct view payload;
};
/* The header's value, or an empty view. Not thread-safe on one record. */
struct view bus_record_header(const struct bus_record *record, const char *name);

struct bus_header_view {
    struct view name, value;
};
/* All headers of a record as they were stored, several of one name included, those of one name in
 * the order of their storing, and perhaps headers of the bus's own (Nats-...). Returns how many
 * there are; `ret` gets the first `max` of them. Not thread-safe on one record. */
size_t bus_record_headers(const struct bus_record *record, struct bus_header_view *ret, size_t max);

/* Reads one record. ERR_NOT_FOUND: nothing is kept at that position. Free with bus_record_free. */
must_check enum err bus_log_read(struct bus_log *log, uint64_t position, int64_t timeout_ms,
                                 struct bus_record **ret);
void bus_record_free(struct bus_record *record);

/* ---- publishing ---- */

struct bus_message {
    const char *subject;
    const struct bus_header *headers;
    size_t header_count;
    struct view payload;
    const char *message_id; /* deduplicated by it within the log's window; NULL: not at all */
};

enum bus_outcome {
    BUS_STORED,    /* at receipt.position */
    BUS_DUPLICATE, /* of receipt.position: an earlier message had the same message_id; nothing was
                    * stored */
    BUS_REFUSED,   /* surely not stored; receipt.why: ERR_FULL, ERR_UNAVAILABLE (no stream, no
                    * leader), ERR_TOO_LARGE, ERR_INTERNAL */
    BUS_UNKNOWN,   /* may be stored: no acknowledgement in time, or the connection broke before */
};
struct bus_receipt {
    enum bus_outcome outcome;
    uint64_t position;
    enum err why;             /* for BUS_REFUSED; for BUS_UNKNOWN ERR_UNKNOWN_OUTCOME */
    struct err_detail detail; /* for these two: the server's words, or what happened */
};

/* Called exactly once for each publish that bus_publish took, perhaps before bus_publish returns,
 * on any thread. It must not block. It may call bus_publish and bus_settle. */
typedef void (*bus_published_fn)(void *ctx, const struct bus_receipt *receipt);

/* Takes a message for publishing; all of it is copied or written before the call returns. An
 * outcome counts only if it is this log's acknowledgement for this very publish: a late one or a
 * foreign reply completes nothing else.
 * On an error nothing was sent and `done` will not be called: ERR_UNAVAILABLE (away, or the log is
 * not checked yet), ERR_BUSY (max_in_flight, or 64 MiB), ERR_TOO_LARGE (the server's max_payload),
 * ERR_MEMORY.
 * Never waits for the network: while nothing is in flight the message is written at once, else with
 * the next group. */
must_check enum err bus_publish(struct bus_log *log, const struct bus_message *message,
                                bus_published_fn done, void *ctx);
/* The same, waiting for the outcome (at most about publish_timeout_ms). Returns ERR_NONE when there
 * is a receipt. */
must_check enum err bus_publish_wait(struct bus_log *log, const struct bus_message *message,
                                     struct bus_receipt *ret);
uint32_t bus_in_flight(struct bus *bus);
uint64_t bus_max_payload(struct bus *bus); /* bytes, headers included; 0 while never connected */

/* ---- following a log ---- */

/* Reads all records from a position on (0 or 1: from the first kept), in order, each once, across
 * reconnects. `headers_only` leaves payloads empty. Does not wait for the bus. */
must_check enum err bus_reader_open(struct bus_log *log, uint64_t from, bool headers_only,
                                    struct bus_reader **ret);
void bus_reader_close(struct bus_reader *reader);
/* Waits for at least one record, then puts those that are there, at most max, into the array `ret`.
 * They live until the reader's next call.
 * ERR_DEADLINE: none in time. ERR_UNAVAILABLE: away (after waiting up to the timeout, or two
 * seconds longer while it asks where it is); call again.
 * ERR_STALE: this is not the log that was followed (made anew, or it lost its tail, or `from` was
 * beyond its end): what was read from it is void; close the reader and start again from 0.
 * Positions may be missing, at the head (dropped by age) or in the middle (deleted, or lost with a
 * damaged file): what is not kept is skipped. */
must_check enum err bus_reader_next(struct bus_reader *reader, int64_t timeout_ms,
                                    struct bus_record **ret, size_t max, size_t *ret_count);

/* ---- sharing the work ---- */

struct bus_consumer_spec {
    const char *group; /* the durable consumer's name; all of a group share its work */
    int64_t ack_wait_ms;
    uint32_t max_ack_pending; /* 0: no limit */
};
must_check enum err bus_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                                      struct bus_consumer **ret);
/* Its deliveries may be settled later still, until bus_close. */
void bus_consumer_close(struct bus_consumer *consumer);
/* Begins anew for the whole group: all that the log keeps is delivered again, from its first
 * position on, also what was acknowledged. For whoever finds that the log lost its tail: the bus
 * remembers how far the group had got, and would not deliver what is stored at the lost positions
 * later. (Where nothing has been stored there yet, bus_fetch finds out by itself.) Deliveries in
 * hand should be left. ERR_UNAVAILABLE, ERR_DEADLINE: perhaps not; call it again. */
must_check enum err bus_consumer_restart(struct bus_consumer *consumer, int64_t timeout_ms);
/* The position up to which the group has acknowledged all that the log keeps; 0: not even the
 * first, or the group has not begun. It may lag a little; what it says was so when the call was
 * made, and it only goes back when the group begins anew or the log is another one. Asks the
 * leader; one round trip. ERR_UNAVAILABLE, ERR_DEADLINE. */
must_check enum err bus_consumer_floor(struct bus_consumer *consumer, int64_t timeout_ms,
                                       uint64_t *ret_position);

struct bus_delivery {
    struct bus_record *record; /* lives as long as the delivery */
    uint32_t delivered;        /* 1: the first time; a hint only, the server may forget */
};
enum bus_settlement {
    BUS_ACK,   /* done with */
    BUS_RETRY, /* again, after delay_ms */
    BUS_LEAVE, /* nothing is sent; it comes back after ack_wait */
};
/* Waits up to timeout_ms for one delivery, then puts those that are there, at most max and about
 * 16 MiB, into the array `ret`. ERR_DEADLINE: none. ERR_UNAVAILABLE: away. Each delivery must be
 * settled exactly once. */
must_check enum err bus_fetch(struct bus_consumer *consumer, int64_t timeout_ms,
                              struct bus_delivery **ret, size_t max, size_t *ret_count);
/* Ends and frees the delivery. Does not wait; an acknowledgement that is lost means a
 * redelivery. */
void bus_settle(struct bus_delivery *delivery, enum bus_settlement how, int64_t delay_ms);
void bus_progress(struct bus_delivery *delivery); /* still working on it: ack_wait begins anew */

#endif
