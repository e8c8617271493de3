#include "common/log.h"

#include "common/clock.h"
#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a longer line may be interleaved with another");

static struct {
    const char *program;
    enum log_level level;
    bool json;
} settings = {.level = LOG_INFO};

static _Thread_local struct {
    struct view request_id, event_id;
} context;

void log_init(const char *program, enum log_level level, enum log_format format)
{
    settings.program = program;
    settings.level = level;
    settings.json = format == LOG_JSON_LINES || (format == LOG_AUTO && !isatty(STDERR_FILENO));
}

bool log_enabled(enum log_level level)
{
    return level >= settings.level;
}

void log_context_set(struct view request_id, struct view event_id)
{
    context.request_id = request_id;
    context.event_id = event_id;
}

void log_context_clear(void)
{
    log_context_set((struct view){0}, (struct view){0});
}

/* ---- one line ---- */

static const char json_truncated[] = ",\"truncated\":true";
static const char text_truncated[] = " truncated=true";

/* What doesn't fit is not written and sets `full`; there is always room for the end: the mark
 * that something is missing, a brace, the newline. */
#define LINE_END_SIZE (sizeof json_truncated + 2)
struct line {
    char bytes[LOG_LINE_MAX];
    size_t len;
    bool full;
    bool truncated;
};

static void put(struct line *line, const char *bytes, size_t len)
{
    if (line->full || len > LOG_LINE_MAX - LINE_END_SIZE - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* The longest start of v, at most LOG_VALUE_MAX bytes, that ends between two characters. */
static size_t cut_length(struct view v)
{
    size_t len = LOG_VALUE_MAX;

    if (v.len <= LOG_VALUE_MAX)
        return v.len;
    while (len > LOG_VALUE_MAX - 3 && ((unsigned char)v.data[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void put_quoted(struct line *line, struct view v)
{
    size_t i = 0, len = cut_length(v);

    put(line, "\"", 1);
    while (i < len) {
        size_t plain = text_json_plain(v.data + i, len - i);

        put(line, v.data + i, plain);
        i += plain;
        if (i < len) {
            char escaped[TEXT_JSON_MAX];
            size_t escaped_len;

            i += text_json_char(v.data + i, len - i, escaped, &escaped_len);
            put(line, escaped, escaped_len);
        }
    }
    if (len < v.len)
        put_text(line, "…");
    put(line, "\"", 1);
}

/* Whether a reader of the text format sees where the value ends. */
static bool is_bare(struct view v)
{
    if (v.len == 0 || v.len > LOG_VALUE_MAX || text_json_plain(v.data, v.len) < v.len)
        return false;
    return !memchr(v.data, ' ', v.len) && !memchr(v.data, '=', v.len);
}

static void put_value(struct line *line, const struct log_field *field)
{
    char number[24];

    if (field->kind == LOG_KIND_TEXT) {
        if (!settings.json && is_bare(field->text))
            put(line, field->text.data, field->text.len);
        else
            put_quoted(line, field->text);
        return;
    }
    if (field->kind == LOG_KIND_U64)
        snprintf(number, sizeof number, "%" PRIu64, field->number);
    else if (field->kind == LOG_KIND_MILLI)
        snprintf(number, sizeof number, "%" PRIu64 ".%03" PRIu64, field->number / 1000,
                 field->number % 1000);
    else
        snprintf(number, sizeof number, "%" PRId64, (int64_t)field->number);
    put_text(line, number);
}

/* A field is written whole or not at all. */
static void put_field(struct line *line, const struct log_field *field)
{
    size_t start = line->len;

    put_text(line, settings.json ? ",\"" : " ");
    put_text(line, field->key);
    put_text(line, settings.json ? "\":" : "=");
    put_value(line, field);
    if (line->full) {
        line->len = start;
        line->full = false;
        line->truncated = true;
    }
}

static void put_json_head(struct line *line, enum log_level level, const char *message,
                          const char *time)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};

    put_text(line, "{\"time\":\"");
    put_text(line, time);
    if (settings.program) {
        put_text(line, "\",\"program\":\"");
        put_text(line, settings.program);
    }
    put_text(line, "\",\"level\":\"");
    put_text(line, words[level]);
    put_text(line, "\",\"msg\":");
    put_quoted(line, view_of(message));
}

static void put_text_head(struct line *line, enum log_level level, const char *message,
                          const char *time)
{
    static const char *const words[] = {" DEBUG ", " INFO  ", " WARN  ", " ERROR "};

    put(line, time + sizeof "2026-01-02", sizeof "03:04:05.678" - 1);
    put_text(line, words[level]);
    put_text(line, message);
}

static void put_end(struct line *line)
{
    const char *mark = settings.json ? json_truncated : text_truncated;
    const char *end = settings.json ? "}\n" : "\n";

    if (line->truncated) {
        memcpy(line->bytes + line->len, mark, strlen(mark));
        line->len += strlen(mark);
    }
    memcpy(line->bytes + line->len, end, strlen(end));
    line->len += strlen(end);
}

static void send(const struct line *line)
{
    size_t sent = 0;

    /* a short write happens only where the kernel does not keep a line together anyway: files on
     * a full disk */
    while (sent < line->len) {
        ssize_t n = write(STDERR_FILENO, line->bytes + sent, line->len - sent);
        if (n > 0)
            sent += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return;
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    int saved = errno;
    struct line line;
    char time[CLOCK_TEXT_SIZE];

    line.len = 0;
    line.full = line.truncated = false;
    clock_format(clock_wall_ms(&clock_system), time);
    (settings.json ? put_json_head : put_text_head)(&line, level, message, time);
    for (const struct log_field *field = fields; field && field->key; field++)
        put_field(&line, field);
    if (context.request_id.len > 0)
        put_field(&line, &LOG_VIEW("request_id", context.request_id));
    if (context.event_id.len > 0)
        put_field(&line, &LOG_VIEW("event_id", context.event_id));
    put_end(&line);
    send(&line);
    errno = saved;
}
