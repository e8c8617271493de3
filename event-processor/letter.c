#include "event-processor/letter.h"

#include "common/event.h"
#include "common/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

const char *letter_reason_word(enum letter_reason reason)
{
    static const char *const words[LETTER_REASONS] = {
#define X(code, word) [code] = word,
        LETTER_REASON_LIST(X)
#undef X
    };
    return words[reason];
}

enum {
    NUMBER_SIZE = 24,
    ERROR_SIZE = sizeof((struct err_detail){0}.text),
    /* <namespace>.dead.<group>.<name>, each with its NUL */
    SUBJECT_SIZE = 33 + sizeof "dead" + 33 + EVENT_NAME_MAX + 1,
    /* <group>/<id>/<generation>/<time>, of `expired` also /expired/<attempts> */
    MESSAGE_ID_SIZE = 33 + ID_TEXT_SIZE + 3 * NUMBER_SIZE + sizeof "/expired/",
};

/* What a letter adds. A message's own headers of these names are left out. */
enum own {
    OWN_EVENT_ID,
    OWN_REASON,
    OWN_ERROR,
    OWN_GROUP,
    OWN_POSITION,
    OWN_ATTEMPTS,
    OWN_GENERATION,
    OWN_CONFLICTS_WITH,
    OWN_CONFLICTS_WITH_POSITION,
    OWN_PAYLOAD_IN,
    OWN_HEADERS
};
static const char *const own_names[OWN_HEADERS] = {
    [OWN_EVENT_ID] = "Tidings-Event-Id",
    [OWN_REASON] = "Tidings-Reason",
    [OWN_ERROR] = "Tidings-Error",
    [OWN_GROUP] = "Tidings-Group",
    [OWN_POSITION] = "Tidings-Position",
    [OWN_ATTEMPTS] = "Tidings-Attempts",
    [OWN_GENERATION] = "Tidings-Generation",
    [OWN_CONFLICTS_WITH] = "Tidings-Conflicts-With",
    [OWN_CONFLICTS_WITH_POSITION] = "Tidings-Conflicts-With-Position",
    [OWN_PAYLOAD_IN] = "Tidings-Payload-In",
};

struct letter_message {
    struct bus_message message;
    char subject[SUBJECT_SIZE];
    char message_id[MESSAGE_ID_SIZE];
    char id[ID_TEXT_SIZE], conflict_id[ID_TEXT_SIZE];
    char error[ERROR_SIZE];
    char position[NUMBER_SIZE], attempts[NUMBER_SIZE], generation[NUMBER_SIZE];
    char conflict_position[NUMBER_SIZE];
    struct bus_header_view *found; /* in the record */
    char *names;                   /* of those, with their NULs */
    struct bus_header *headers;
};

/* ---- what a letter adds ---- */

/* Of a message from elsewhere the subject may be any that the stream takes. */
static struct view name_of(const struct letter *letter)
{
    struct view subject = view_of(letter->record->subject);
    char prefix[33 + sizeof "events."];
    int len = snprintf(prefix, sizeof prefix, "%.32s.events.", letter->ns);
    if (subject.len <= (size_t)len || memcmp(subject.data, prefix, (size_t)len) != 0)
        return VIEW(LETTER_NO_NAME);
    struct view name = {subject.data + len, subject.len - (size_t)len};
    return event_name_check(name, NULL) ? VIEW(LETTER_NO_NAME) : name;
}

/* Headers are for ASCII; the record in the status log has the sentence as it is. */
static void write_error(struct view error, char text[ERROR_SIZE])
{
    size_t len = error.len < ERROR_SIZE - 1 ? error.len : ERROR_SIZE - 1;
    for (size_t i = 0; i < len; i++)
        text[i] = error.data[i] >= ' ' && error.data[i] <= '~' ? error.data[i] : '?';
    text[len] = '\0';
}

static void write_message_id(const struct letter *letter, struct letter_message *m)
{
    /* With the time, because an event log that has lost its tail gives positions, and so these ids,
     * out again. */
    int len = snprintf(m->message_id, sizeof m->message_id, "%.32s/%s/%" PRIu32 "/%" PRId64,
                       letter->group, m->id, letter->generation, letter->record->time_ms);
    /* That of an event that expires may not count, because its attempt comes to an end: then
     * another letter with another reason may follow. */
    if (letter->reason == LETTER_EXPIRED)
        snprintf(m->message_id + len, sizeof m->message_id - (size_t)len, "/expired/%" PRIu32,
                 letter->attempts);
}

static void write_texts(const struct letter *letter, struct letter_message *m)
{
    struct view name = name_of(letter);
    snprintf(m->subject, sizeof m->subject, "%.32s.dead.%.32s.%.*s", letter->ns, letter->group,
             (int)name.len, name.data);
    id_format(&letter->id, m->id);
    write_message_id(letter, m);
    write_error(letter->error, m->error);
    snprintf(m->position, sizeof m->position, "%" PRIu64, letter->record->position);
    snprintf(m->attempts, sizeof m->attempts, "%" PRIu32, letter->attempts);
    snprintf(m->generation, sizeof m->generation, "%" PRIu32, letter->generation);
    if (letter->conflict_position == 0)
        return;
    id_format(&letter->conflict_id, m->conflict_id);
    snprintf(m->conflict_position, sizeof m->conflict_position, "%" PRIu64,
             letter->conflict_position);
}

/* Those without a value are left out by the bus. */
static void add_own(const struct letter *letter, enum letter_size size, struct letter_message *m)
{
    struct view values[OWN_HEADERS] = {
        [OWN_EVENT_ID] = view_of(m->id),
        [OWN_REASON] = view_of(letter_reason_word(letter->reason)),
        [OWN_ERROR] = view_of(m->error),
        [OWN_GROUP] = view_of(letter->group),
        [OWN_POSITION] = view_of(m->position),
        [OWN_ATTEMPTS] = view_of(m->attempts),
        [OWN_GENERATION] = view_of(m->generation),
        [OWN_CONFLICTS_WITH] = view_of(m->conflict_id),
        [OWN_CONFLICTS_WITH_POSITION] = view_of(m->conflict_position),
        [OWN_PAYLOAD_IN] = size == LETTER_WHOLE ? VIEW("") : view_of(letter->event_stream),
    };
    for (size_t i = 0; i < OWN_HEADERS; i++)
        m->headers[m->message.header_count++] = (struct bus_header){own_names[i], values[i]};
}

/* ---- what the message had ---- */

static bool is_own(struct view name)
{
    for (size_t i = 0; i < OWN_HEADERS; i++)
        if (view_equal_nocase(name, view_of(own_names[i])))
            return true;
    return false;
}

/* The server's, which would mean something to it once more. */
static bool is_servers(struct view name)
{
    static const struct view prefix = {"Nats-", sizeof "Nats-" - 1};
    return name.len >= prefix.len &&
           view_equal_nocase((struct view){name.data, prefix.len}, prefix);
}

/* What the bus takes: another client may have published anything. */
static bool is_sound(struct bus_header_view header)
{
    for (size_t i = 0; i < header.name.len; i++)
        if (header.name.data[i] <= ' ' || header.name.data[i] > '~' || header.name.data[i] == ':')
            return false;
    for (size_t i = 0; i < header.value.len; i++)
        if (header.value.data[i] == '\r' || header.value.data[i] == '\n' ||
            header.value.data[i] == '\0')
            return false;
    return header.name.len > 0;
}

static void add_found(struct letter_message *m, size_t count)
{
    char *name = m->names;
    for (size_t i = 0; i < count; i++) {
        struct bus_header_view header = m->found[i];
        if (!is_sound(header) || is_own(header.name) || is_servers(header.name))
            continue;
        memcpy(name, header.name.data, header.name.len);
        name[header.name.len] = '\0';
        m->headers[m->message.header_count++] = (struct bus_header){name, header.value};
        name += header.name.len + 1;
    }
}

/* *ret_count: headers in the record. */
static bool find_headers(const struct bus_record *record, struct letter_message *m,
                         size_t *ret_count)
{
    size_t count = bus_record_headers(record, NULL, 0);
    size_t bytes = 1;
    m->found = mem_zero(count + 1, sizeof *m->found);
    if (!m->found)
        return false;
    (void)bus_record_headers(record, m->found, count);
    for (size_t i = 0; i < count; i++)
        bytes += m->found[i].name.len + 1;
    m->names = mem_alloc(bytes);
    *ret_count = count;
    return m->names != NULL;
}

/* ---- a letter ---- */

enum err letter_write(const struct letter *letter, enum letter_size size,
                      struct letter_message **ret)
{
    size_t count = 0;
    struct letter_message *m = mem_zero(1, sizeof *m);
    if (!m)
        return ERR_MEMORY;
    bool found = size == LETTER_BARE || find_headers(letter->record, m, &count);
    if (found)
        m->headers = mem_zero(OWN_HEADERS + count, sizeof *m->headers);
    if (!m->headers) {
        letter_message_free(m);
        return ERR_MEMORY;
    }
    m->message = (struct bus_message){
        .subject = m->subject, .headers = m->headers, .message_id = m->message_id};
    write_texts(letter, m);
    add_own(letter, size, m);
    add_found(m, count);
    if (size == LETTER_WHOLE)
        m->message.payload = letter->record->payload;
    *ret = m;
    return ERR_NONE;
}

/* ---- back ---- */

static bool read_number(struct view text, uint64_t *ret)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > UINT64_MAX / 10 - 1)
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret = number;
    return number > 0;
}

static bool is_of_event(struct view reason)
{
    return view_equal(reason, view_of(letter_reason_word(LETTER_EXHAUSTED))) ||
           view_equal(reason, view_of(letter_reason_word(LETTER_NEVER_AGAIN))) ||
           view_equal(reason, view_of(letter_reason_word(LETTER_EXPIRED)));
}

bool letter_read(const struct bus_record *record, const char *ns, const char *group,
                 struct letter_event *ret)
{
    char prefix[SUBJECT_SIZE];
    struct letter_event event;
    struct view subject = view_of(record->subject);
    size_t len = (size_t)snprintf(prefix, sizeof prefix, "%.32s.dead.%.32s.", ns, group);
    if (subject.len <= len || memcmp(subject.data, prefix, len) != 0)
        return false;
    event.name = (struct view){subject.data + len, subject.len - len};
    if (event_name_check(event.name, NULL) ||
        !is_of_event(bus_record_header(record, own_names[OWN_REASON])) ||
        !id_parse(bus_record_header(record, own_names[OWN_EVENT_ID]), &event.id) ||
        !read_number(bus_record_header(record, own_names[OWN_POSITION]), &event.position))
        return false;
    event.whole = bus_record_header(record, own_names[OWN_PAYLOAD_IN]).len == 0;
    *ret = event;
    return true;
}

enum err letter_revive(const struct bus_record *record, const struct letter_event *event,
                       const char *ns, struct letter_message **ret)
{
    size_t count = 0;
    struct letter_message *m = mem_zero(1, sizeof *m);
    if (!m)
        return ERR_MEMORY;
    if (find_headers(record, m, &count))
        m->headers = mem_zero(1 + count, sizeof *m->headers);
    if (!m->headers) {
        letter_message_free(m);
        return ERR_MEMORY;
    }
    snprintf(m->subject, sizeof m->subject, "%.32s.events.%.*s", ns, (int)event->name.len,
             event->name.data);
    id_format(&event->id, m->id);
    m->headers[0] = (struct bus_header){own_names[OWN_EVENT_ID], view_of(m->id)};
    m->message = (struct bus_message){.subject = m->subject,
                                      .headers = m->headers,
                                      .header_count = 1,
                                      .payload = record->payload};
    add_found(m, count);
    *ret = m;
    return ERR_NONE;
}

/* ---- both ---- */

const struct bus_message *letter_message(const struct letter_message *message)
{
    return &message->message;
}

void letter_message_free(struct letter_message *message)
{
    if (!message)
        return;
    mem_free(message->headers);
    mem_free(message->names);
    mem_free(message->found);
    mem_free(message);
}
