#include "common/settings.h"

#include <inttypes.h>
#include <stdio.h>

const char *const settings_log_levels[] = {"debug", "info", "warn", "error", NULL};
const char *const settings_log_formats[] = {"auto", "text", "json", NULL};

/* What RFC 3986 allows anywhere in a URI reference. */
static bool is_uri_character(char c)
{
    return c > ' ' && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static enum err source_check(const char *source, struct err_detail *detail)
{
    for (const char *c = source; *c; c++)
        if (!is_uri_character(*c))
            return err_set(detail, ERR_INVALID,
                           "--source: \"%.100s\" is not a URI reference: byte %td is not allowed "
                           "in one",
                           source, c - source + 1);
    return ERR_NONE;
}

static enum err window_check(const struct settings *s, struct err_detail *detail)
{
    char window[CONFIG_DURATION_SIZE], age[CONFIG_DURATION_SIZE];

    if (s->events_max_age_ms == 0 || s->duplicate_window_ms <= s->events_max_age_ms)
        return ERR_NONE;
    config_duration_text(s->duplicate_window_ms, window);
    config_duration_text(s->events_max_age_ms, age);
    return err_set(detail, ERR_INVALID,
                   "--duplicate-window (%s) must not be longer than --events-max-age (%s): the bus "
                   "would know events that it no longer has",
                   window, age);
}

static enum err bus_check(const char *urls, struct err_detail *detail)
{
    static const char scheme[] = "nats://";

    for (const char *url = urls; url; url = strchr(url, ',')) {
        if (*url == ',')
            url++;
        if (strncmp(url, scheme, sizeof scheme - 1) != 0 || strcspn(url, ",") == sizeof scheme - 1)
            return err_set(detail, ERR_INVALID,
                           "--bus: \"%.100s\" is not allowed: nats://host:port is, or several of "
                           "these with commas between them",
                           urls);
    }
    return ERR_NONE;
}

enum err settings_check(const struct settings *s, struct err_detail *detail)
{
    enum err e = bus_check(s->bus, detail);

    if (!e)
        e = source_check(s->source, detail);
    if (e)
        return e;
    if (s->stream_replicas != 1 && s->stream_replicas != 3 && s->stream_replicas != 5)
        return err_set(detail, ERR_INVALID,
                       "--stream-replicas: 1, 3 or 5 is allowed, not %" PRIu64
                       ", so that a majority is left when one or two fail",
                       s->stream_replicas);
    return window_check(s, detail);
}

/* <NAMESPACE>_<kind>, e.g. TIDINGS_EVENTS */
static void stream_name(const struct settings *s, const char *kind, char name[80])
{
    size_t len = (size_t)snprintf(name, 80, "%.32s", s->ns);

    for (size_t i = 0; i < len; i++)
        if (name[i] >= 'a' && name[i] <= 'z')
            name[i] = (char)(name[i] - 'a' + 'A');
    snprintf(name + len, 80 - len, "_%.47s", kind);
}

static struct bus_log_spec spec_of(const struct settings *s, const struct log_names *names)
{
    return (struct bus_log_spec){.name = names->stream,
                                 .subject = names->subject,
                                 .max_age_ms = s->events_max_age_ms,
                                 .duplicate_window_ms = s->duplicate_window_ms,
                                 .replicas = (uint32_t)s->stream_replicas};
}

void settings_event_log(const struct settings *s, struct log_names *names, struct bus_log_spec *ret)
{
    stream_name(s, "EVENTS", names->stream);
    snprintf(names->subject, sizeof names->subject, "%.32s.events.>", s->ns);
    *ret = spec_of(s, names);
    ret->max_bytes = s->events_max_bytes;
}

static void set_about_events(const struct settings *s, struct log_names *names,
                             struct bus_log_spec *ret)
{
    stream_name(s, "EVENTS", names->about);
    ret->about = names->about;
}

void settings_status_log(const struct settings *s, const char *group, struct log_names *names,
                         struct bus_log_spec *ret)
{
    char kind[48];

    snprintf(kind, sizeof kind, "STATUS_%.32s", group);
    stream_name(s, kind, names->stream);
    snprintf(names->subject, sizeof names->subject, "%.32s.status.%.32s", s->ns, group);
    *ret = spec_of(s, names);
    set_about_events(s, names, ret);
}

void settings_retry_log(const struct settings *s, const char *group, struct log_names *names,
                        struct bus_log_spec *ret)
{
    char kind[48];

    snprintf(kind, sizeof kind, "RETRY_%.32s", group);
    stream_name(s, kind, names->stream);
    snprintf(names->subject, sizeof names->subject, "%.32s.retry.%.32s", s->ns, group);
    *ret = spec_of(s, names);
    ret->kind = BUS_LOG_WORK_QUEUE;
    ret->max_age_ms = 0;
}

void settings_dead_log(const struct settings *s, struct log_names *names, struct bus_log_spec *ret)
{
    stream_name(s, "DEAD", names->stream);
    snprintf(names->subject, sizeof names->subject, "%.32s.dead.>", s->ns);
    *ret = spec_of(s, names);
    ret->max_age_ms = 0;
    set_about_events(s, names, ret);
}
