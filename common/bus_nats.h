/* The NATS driver's parts. Private to bus_nats*.c, the only files that know nats.c (and the only
 * ones that include its header).
 *
 *   nats_bus ----- nats_link "publish" --- nats_session --- a connection of nats.c
 *     |    \             `--- nats_publisher (slots, flush clock)
 *     |     `----- nats_link "service" --- nats_session --- requests, readers, consumers
 *     `--- nats_log ...
 *
 * A link keeps one connection alive: its keeper thread connects for ever and pings, its I/O
 * thread reads and writes. We use nats.c's event-loop interface and do not let nats.c reconnect:
 * each life of a connection is a new natsConnection, in a nats_session, so nothing buffered, half
 * parsed or awaited in one life can leak into the next (nats.c 3.4.1 keeps its parser's state and
 * its send buffer over a reconnect), and no timer of nats.c closes a socket that we are reading.
 *
 * Locks, in the order in which they may be taken: nats_link.io, nats_publisher.lock,
 * nats_bus.lock, nats_link.lock.
 */
#ifndef TIDINGS_BUS_NATS_H
#define TIDINGS_BUS_NATS_H

#include "common/bus_driver.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

enum { /* how long a ping, sent every 500 ms, may be unanswered, with nothing else heard either */
       NATS_SILENT_MS = 1000, /* then publishes are refused */
       NATS_DEAD_MS = 2500,   /* then the connection is given up */
};

struct nats_bus;
struct nats_link;

/* ---- bus_nats_link.c: one connection kept alive ---- */

/* One life of a connection. Counted: the link holds one reference while it is up, everyone who
 * uses it another. */
struct nats_session {
    _Atomic uint32_t refs;
    uint64_t number; /* of this life, from 1, for the whole bus */
    struct nats_link *link;
    natsConnection *nc;
    int fd;
    void *own; /* the owner's, made by `begin`, freed by `end` */
};

struct nats_link_owner {
    /* Keeper thread, before the session is up. Fails: the connection is dropped and made again. */
    natsStatus (*begin)(void *ctx, struct nats_session *session);
    /* Keeper thread, once it is up and after each ping: time for chores that send requests. */
    void (*tend)(void *ctx, struct nats_session *session);
    /* I/O thread, after each reading and at least every 50 ms. */
    void (*turn)(void *ctx, struct nats_session *session);
    /* I/O thread, or whoever stops the link: it is down; nobody reads it any more. No other is
     * begun before this returns. */
    void (*down)(void *ctx, struct nats_session *session);
    /* Whoever lets go of it last; the connection is closed. */
    void (*end)(void *ctx, struct nats_session *session);
};

struct nats_link {
    struct nats_bus *bus;
    const char *purpose;
    const struct nats_link_owner *owner;
    void *ctx;
    pthread_t io_thread;
    pthread_t keeper_thread;
    int epoll_fd;
    int event_fd;

    /* Held while reading, parsing and writing, and while subscriptions are made and destroyed:
     * nats.c 3.4.1 uses a subscription after letting go of its lock, and OpenSSL must not read
     * and write one connection at the same time. Others leave their writing to the holder, so
     * whoever lets go of it looks whether something is wanted (nats_link_write). */
    pthread_mutex_t io;
    atomic_bool write_wanted;
    atomic_bool write_soon;
    atomic_bool io_stop;

    pthread_mutex_t lock;         /* guards the rest */
    pthread_cond_t changed;       /* up, down, stop, or a poke */
    struct nats_session *session; /* NULL: down */
    struct err_detail last_error; /* of the last attempt to connect */
    bool stop;
    bool poked;
    /* When the oldest ping was sent after which nothing has been heard; 0: none is out. */
    _Atomic int64_t unanswered_ms;
};

enum err nats_link_start(struct nats_link *link, struct nats_bus *bus, const char *purpose,
                         const struct nats_link_owner *owner, void *ctx);
void nats_link_end(struct nats_link *link);  /* tells it to; does not wait */
void nats_link_stop(struct nats_link *link); /* ends both threads and the session */
/* The session with a reference of the caller's, or NULL while down. */
struct nats_session *nats_link_hold(struct nats_link *link);
/* The same, waiting for it until the deadline. */
struct nats_session *nats_link_await(struct nats_link *link, int64_t deadline_ms);
void nats_session_release(struct nats_session *session);
void nats_link_pause(struct nats_link *link, int64_t ms); /* less if it comes up or goes down */
void nats_link_poke(struct nats_link *link);              /* makes the keeper tend now */
void nats_link_write(struct nats_link *link);      /* what is buffered, at once; never waits */
void nats_link_write_soon(struct nats_link *link); /* within a millisecond, with what else comes */
int64_t nats_link_silence_ms(struct nats_link *link); /* how long a ping has been unanswered */
bool nats_link_is_up(struct nats_link *link, struct err_detail *detail);
/* While set, appending to the connection's buffer doesn't wake the I/O thread: the caller sees to
 * the writing. */
extern _Thread_local bool nats_link_quiet;

/* For bus_nats_io.c: the session is closed, and nobody reads it any more. */
void nats_link_drop(struct nats_link *link, struct nats_session *session);

int64_t nats_now_ms(void); /* monotonic */
void nats_cond_init(pthread_cond_t *cond);
/* Until the deadline by nats_now_ms. False: it has passed. */
bool nats_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms);

/* ---- bus_nats_io.c: a link's I/O thread ---- */

enum err nats_io_start(struct nats_link *link);
void nats_io_stop(struct nats_link *link); /* ends the thread and the session */
void nats_io_free(struct nats_link *link); /* once the keeper's thread has ended, too */
natsStatus nats_io_set_loop(natsOptions *options, struct nats_session *session);
void nats_io_attach(struct nats_link *link, struct nats_session *session);
/* Closes the connection by breaking its socket: natsConnection_Close would wait for a pong that
 * nobody reads. */
void nats_session_break(struct nats_session *session);

/* ---- bus_nats_publish.c: the publish path ---- */

struct nats_log;

enum { NATS_NO_SLOT = UINT32_MAX };
struct nats_slot {
    uint32_t turn;
    uint32_t next; /* newer, or the next free one */
    uint32_t prev; /* older */
    uint32_t bytes;
    uint64_t group;
    int64_t deadline_ms;
    struct nats_log *log;
    bus_published_fn done;
    void *ctx;
    natsMsg *msg;  /* until it is written */
    bool taken_in; /* in flight */
};

struct nats_publisher {
    struct nats_bus *bus;
    struct nats_link link;
    char inbox[64]; /* _INBOX.<unique>. */

    pthread_mutex_t lock; /* guards the rest, and the slots */
    uint64_t session;     /* number of the life in use; 0: away */
    uint64_t max_payload;
    struct nats_slot *slots;
    uint32_t slot_count;
    uint32_t free;   /* the first free slot */
    uint32_t oldest; /* in flight, by age */
    uint32_t newest;
    uint32_t in_flight;
    uint64_t bytes; /* in flight */

    /* The flush clock. Publishes are written in groups: the next one when all of the last are
     * back. */
    uint64_t group;              /* that is being filled */
    uint32_t filling;            /* in flight, of this group */
    uint32_t awaited;            /* in flight, of groups that have started */
    uint64_t awaited_from;       /* but not of those before this one: they have waited too long */
    int64_t started_ms;          /* when the last group did */
    uint32_t unwritten;          /* the oldest in flight that is not written yet */
    bool draining;               /* those whose acks have been taken are being told */
    uint32_t refusals;           /* "no responders", nobody knows whose; see bus_nats_slots.c */
    int64_t refusals_trusted_ms; /* not before */
    _Atomic uint64_t strays;     /* answers that were nobody's */
};

enum err nats_publisher_start(struct nats_publisher *publisher, struct nats_bus *bus);
void nats_publisher_stop(struct nats_publisher *publisher);
enum err nats_publish(struct bus_log *log, const struct bus_message *message, bus_published_fn done,
                      void *ctx);

/* ---- bus_nats_slots.c: publishes in flight, and their acks ---- */

enum err nats_slots_make(struct nats_publisher *publisher, uint32_t count);
/* These want the publisher's lock held. A slot is taken, then set off or given back. */
uint32_t nats_slot_take(struct nats_publisher *publisher);
void nats_slot_give_back(struct nats_publisher *publisher, uint32_t slot);
void nats_slot_set_off(struct nats_publisher *publisher, uint32_t slot);
/* True: a group starts, and is to be written now. `late`: also if those before are not back but
 * have had their time. */
bool nats_group_starts(struct nats_publisher *publisher, bool late);
/* Takes messages of groups that have started out of their slots, oldest first; at most `max`. */
size_t nats_slots_take_messages(struct nats_publisher *publisher, natsMsg **ret, size_t max);
/* I/O thread. Takes the acks that have come. No group starts from then on until `draining` is
 * cleared, so that what those who are told publish next goes into one group. */
void nats_slots_drain(struct nats_publisher *publisher, natsSubscription *acks);
/* Is all that is in flight refused, for want of a stream? Then nats_slots_refuse completes it. */
bool nats_slots_refused(struct nats_publisher *publisher);
void nats_slots_refuse(struct nats_publisher *publisher);
/* Completes as BUS_UNKNOWN what should have been acknowledged by now; INT64_MAX: all. */
void nats_slots_expire(struct nats_publisher *publisher, int64_t now_ms, const char *why);

/* ---- bus_nats_ack.c: the answer to a publish ---- */

struct nats_ack {
    enum {
        NATS_ACK_FOREIGN,
        NATS_ACK_STORED,
        NATS_ACK_DUPLICATE,
        NATS_ACK_ERROR,  /* nothing was stored */
        NATS_ACK_UNKNOWN /* something went wrong, and it may be stored */
    } kind;
    struct view stream; /* empty: it names none, as some errors do */
    uint64_t position;
    enum err why;            /* for the last two, as is the description */
    struct view description; /* the server's words */
};
/* Reads JetStream's answer. Anything that isn't one is NATS_ACK_FOREIGN. Views point into the
 * text. */
void nats_ack_parse(struct view text, struct nats_ack *ret);

/* ---- bus_nats_log.c: streams ---- */

enum nats_log_state {
    NATS_LOG_UNCHECKED, /* nobody has answered */
    NATS_LOG_MISSING,   /* and cannot be made now */
    NATS_LOG_DELETED,   /* and made anew at due_ms, not before */
    NATS_LOG_SOUND,
    NATS_LOG_BROKEN,
};

struct nats_log {
    struct bus_log base;
    char *name;
    char *subject;
    char *about; /* NULL: nothing */
    struct bus_log_spec spec;
    struct nats_log *next;
    _Atomic uint64_t sound_round; /* the round in which it was found sound; see nats_bus.round */
    _Atomic bool direct;          /* direct get is allowed */
    enum nats_log_state state;    /* guarded by nats_bus.lock, as is the rest */
    int64_t due_ms;               /* when what is known of it is to be checked again */
    struct err_detail detail;
};

enum err nats_log_open(struct bus *bus, const struct bus_log_spec *spec, struct bus_log **ret);
void nats_logs_free(struct nats_bus *bus);
enum err nats_log_end(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret);
enum err nats_log_read(struct bus_log *log, uint64_t position, int64_t timeout_ms,
                       struct bus_record **ret);
/* The same with the session at hand, from the leader. */
enum err nats_log_ask_end(struct nats_log *log, struct nats_session *session, int64_t timeout_ms,
                          struct bus_log_end *ret);
/* When the message at this position was stored, in ns, by the leader. */
enum err nats_log_ask_time(struct nats_log *log, struct nats_session *session, uint64_t position,
                           int64_t timeout_ms, int64_t *ret_ns);
enum err nats_err_of(natsStatus status, jsErrCode code);
const char *nats_words(natsStatus status,
                       jsErrCode code); /* for a person; until the thread's next call */
static inline jsCtx *nats_js(const struct nats_session *session)
{
    return session->own;
}

/* ---- bus_nats_rules.c: which settings of a stream break a promise. Pure ---- */

/* A stream as it is found. */
struct nats_stream {
    const struct jsStreamConfig *config;
    int64_t age_about_ns; /* max_age of the log that its records are about; 0: for ever */
    /* Settings that the struct of our floor's nats.c lacks: */
    bool transforms;  /* subject_transform, from nats-server 2.10 on */
    bool expires;     /* allow_msg_ttl, 2.11 */
    bool counts;      /* allow_msg_counter, 2.12 */
    bool schedules;   /* allow_msg_schedules, 2.12 */
    bool writes_late; /* persist_mode async, 2.12 */
};
/* Reads those from the answer to a STREAM.INFO request. False: it is none. */
must_check bool nats_stream_read_newer(struct view answer, struct nats_stream *ret);
/* False: the detail names the first setting that breaks a promise, the promise, and what mends
 * it. */
must_check bool nats_stream_is_sound(const struct nats_log *log, const struct nats_stream *stream,
                                     struct err_detail *detail);

/* ---- bus_nats_check.c: making and checking streams ---- */

void nats_logs_tend(struct nats_bus *bus, struct nats_session *session); /* service keeper */
/* Are all logs sound, by what was found out in this round? The detail says which isn't. */
bool nats_logs_sound(struct nats_bus *bus, struct err_detail *detail);
bool nats_logs_broken(struct nats_bus *bus, struct err_detail *detail);

/* ---- bus_nats_encode.c: messages to be published ---- */

size_t nats_encoded_size(const struct bus_message *m); /* as the server counts for max_payload */
/* Keeps nothing of either. NATS_NO_MEMORY. */
must_check natsStatus nats_encode(const struct bus_message *m, const char *reply, natsMsg **ret);

/* ---- bus_nats_message.c: received messages ---- */

/* The headers in encoded form lie in front of the payload, and nothing in nats.c's interface says
 * where:
 *     subject NUL reply NUL headers NUL payload NUL
 * in one block. That holds for versions 3.4.1 to 3.13 (natsMsg_create); with any other we take the
 * slow way, by nats.c's own functions. */
bool nats_layout_is_known(void);

struct nats_record {
    struct bus_record_box box;
    natsMsg *msg;
    char *subject; /* NULL: the message's own */
    bool raw;      /* its headers are as received */
};
/* What a JetStream delivery says about itself, in its reply subject. */
struct nats_origin {
    uint64_t position;
    uint64_t delivery; /* of this consumer, from 1 */
    uint32_t delivered;
    int64_t time_ns;
    uint64_t pending; /* for the consumer, behind this one */
};
bool nats_origin_parse(const char *reply, struct nats_origin *ret);
/* A header that the server has added to a message, without making nats.c build its table of
 * headers; empty if there is none. The last of several: the stored message may have had headers of
 * that name too (one that was republished from another stream has), and the server puts its own
 * behind. */
struct view nats_raw_header(natsMsg *msg, const char *name);
int nats_status_of(
    natsMsg *msg); /* 100, 404, ... of a message without payload; 0: an ordinary one */
bool nats_status_says(natsMsg *msg, const char *text);
void nats_record_fill(struct nats_record *record, natsMsg *msg, const struct nats_origin *origin);
struct view nats_record_header(const struct bus_record *record, const char *name);
size_t nats_record_headers(const struct bus_record *record, struct bus_header_view *ret,
                           size_t max);
void nats_record_free(struct bus_record *record);

/* ---- bus_nats_inbox.c: a subscription and the queue behind it ---- */

struct nats_inbox;
/* Subscribes to a unique inbox (`wildcard`: to all that is under it). */
enum err nats_inbox_open(struct nats_session *session, bool wildcard, struct nats_inbox **ret);
void nats_inbox_close(struct nats_inbox *inbox);
const char *nats_inbox_subject(const struct nats_inbox *inbox); /* without the wildcard */
int64_t
nats_inbox_heard_ms(struct nats_inbox *inbox); /* when a message last came, or it was opened */
/* The next message, which is then the caller's. ERR_DEADLINE; ERR_UNAVAILABLE: the connection is
 * gone, or messages were lost. */
enum err nats_inbox_next(struct nats_inbox *inbox, int64_t deadline_ms, natsMsg **ret);

/* ---- bus_nats_read.c, bus_nats_consume.c ---- */

enum err nats_reader_open(struct bus_log *log, uint64_t from, bool headers_only,
                          struct bus_reader **ret);
void nats_reader_close(struct bus_reader *reader);
enum err nats_reader_next(struct bus_reader *reader, int64_t timeout_ms, struct bus_record **ret,
                          size_t max, size_t *ret_count);
enum err nats_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                            struct bus_consumer **ret);
void nats_consumer_close(struct bus_consumer *consumer);
enum err nats_consumer_restart(struct bus_consumer *consumer, int64_t timeout_ms);
enum err nats_consumer_floor(struct bus_consumer *consumer, int64_t timeout_ms,
                             uint64_t *ret_position);
enum err nats_fetch(struct bus_consumer *consumer, int64_t timeout_ms, struct bus_delivery **ret,
                    size_t max, size_t *ret_count);
void nats_settle(struct bus_delivery *delivery, enum bus_settlement how, int64_t delay_ms);
void nats_progress(struct bus_delivery *delivery);

/* ---- bus_nats.c: the whole ---- */

struct nats_bus {
    struct bus base;
    struct bus_options options;
    char *url;
    char *name;
    struct nats_publisher publisher;
    struct nats_link service;
    _Atomic uint64_t sessions; /* lives so far */
    /* Grows whenever the publish link comes up: what was found out about the logs before may be
     * true no more. */
    _Atomic uint64_t round;
    atomic_bool was_ready;

    pthread_mutex_t lock; /* guards the list of logs and what was found out about them */
    pthread_cond_t changed;
    struct nats_log *logs;
};

static inline struct nats_bus *nats_bus_of(const struct bus_log *log)
{
    return (struct nats_bus *)log->bus;
}
void nats_bus_changed(struct nats_bus *bus); /* wakes those who wait for readiness */

#endif
