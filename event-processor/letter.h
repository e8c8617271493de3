/* A dead letter: a message of the event log that no handler will run, as it is kept in
 * TIDINGS_DEAD: as it came, with headers that say why (docs/bus.md). Thread-safe.
 */
#ifndef TIDINGS_LETTER_H
#define TIDINGS_LETTER_H

#include "common/bus.h"
#include "common/id.h"

/* X(code, word) */
#define LETTER_REASON_LIST(X)                                                                   \
    X(LETTER_ID_CONFLICT, "id_conflict")      /* its id is that of an event of other content */ \
    X(LETTER_MALFORMED, "malformed")          /* it is no event */                              \
    X(LETTER_EXHAUSTED, "attempts_exhausted") /* the last of its attempts has failed */         \
    X(LETTER_NEVER_AGAIN, "never_again")      /* its handler has said so */                     \
    X(LETTER_EXPIRED, "expired")              /* it is about to leave the event log */

enum letter_reason {
#define X(code, word) code,
    LETTER_REASON_LIST(X)
#undef X
        LETTER_REASONS
};
const char *letter_reason_word(enum letter_reason reason);

/* The name of a letter whose message has none, the last part of its subject: what no event can be
 * called, since parentheses are allowed in no name. */
#define LETTER_NO_NAME "(malformed)"

struct letter {
    const struct bus_record *record; /* the message, at record->position of the event log */
    const char *event_stream;        /* the event log's name */
    const char *ns;
    const char *group;
    enum letter_reason reason;
    struct view error;   /* a sentence */
    struct event_id id;  /* of the letter, and of its `dead` record */
    uint32_t generation; /* which life of the event has ended */
    uint32_t attempts;
    /* 0: no conflict. Else the first event's position, and the id that both came with. */
    uint64_t conflict_position;
    struct event_id conflict_id;
};

/* How much of the message goes with it. */
enum letter_size {
    LETTER_WHOLE,
    LETTER_WITHOUT_PAYLOAD, /* a header says where it is */
    LETTER_BARE,            /* nor the message's own headers */
    LETTER_SIZES
};

/* A letter that can be published. */
struct letter_message;
/* Holds views of the letter and of its record, and reads the record's headers: one thread at a
 * time. ERR_MEMORY. */
must_check enum err letter_write(const struct letter *letter, enum letter_size size,
                                 struct letter_message **ret);
const struct bus_message *letter_message(const struct letter_message *message);
void letter_message_free(struct letter_message *message);

/* ---- back from the log of dead letters ---- */

/* The event that a letter is of; `name` is a view of the record. */
struct letter_event {
    struct event_id id;
    struct view name;
    uint64_t position; /* that it had in the event log */
    bool whole;        /* the letter has its payload */
};
/* False: it is no letter of this group, or of what is no event of its own (`malformed`,
 * `id_conflict`). It may be read without its payload. */
bool letter_read(const struct bus_record *record, const char *ns, const char *group,
                 struct letter_event *ret);
/* The event as it was published, without a message id, of a letter that is whole. Holds views of
 * the record, and reads its headers: one thread at a time. ERR_MEMORY. */
must_check enum err letter_revive(const struct bus_record *record, const struct letter_event *event,
                                  const char *ns, struct letter_message **ret);

#endif
