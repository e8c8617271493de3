#include "http-gateway/settings.h"

#include "common/http.h"
#include "http-gateway/webhook_origins.h"

#define HOUR_MS (3600 * 1000u)

static const struct config_setting settings[] = {
    {.section = "Service",
     .flag = "listen",
     .environment = "TIDINGS_HTTP_LISTEN",
     .fallback = "0.0.0.0:8080",
     .help = "Address of the HTTP API",
     .kind = CONFIG_ADDRESS,
     .offset = offsetof(struct gateway_settings, listen)},
    {.flag = "processor",
     .environment = "TIDINGS_PROCESSOR",
     .fallback = "dns:///127.0.0.1:9090",
     .help = "Where to ask for statuses; all addresses of a name, or of a list, in turn",
     .kind = CONFIG_TEXT,
     .offset = offsetof(struct gateway_settings, processor)},
    {.flag = "webhook-origins",
     .environment = "TIDINGS_WEBHOOK_ORIGINS",
     .fallback = "none",
     .help = "Senders of webhooks that are told they may deliver here, separated by commas; *: any",
     .kind = CONFIG_TEXT,
     .offset = offsetof(struct gateway_settings, webhook_origins)},
    {.flag = "cors-origins",
     .environment = "TIDINGS_CORS_ORIGINS",
     .fallback = "none",
     .help = "Origins whose web pages may use this API, separated by commas; *: any",
     .kind = CONFIG_TEXT,
     .offset = offsetof(struct gateway_settings, cors_origins)},
    {.flag = "drain-timeout",
     .environment = "TIDINGS_DRAIN_TIMEOUT",
     .fallback = "25s",
     .help = "How long requests in progress may take to finish after SIGTERM",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct gateway_settings, drain_timeout_ms),
     .max = HOUR_MS},
    {.section = "Limits",
     .flag = "max-body",
     .environment = "TIDINGS_MAX_BODY",
     .fallback = "1MiB",
     .help = "Size of a request's body; the bus has a limit of its own, headers included",
     .kind = CONFIG_BYTES,
     .offset = offsetof(struct gateway_settings, max_body),
     .min = 1024,
     .max = 64 << 20},
    {.flag = "max-connections",
     .environment = "TIDINGS_MAX_CONNECTIONS",
     .fallback = "512",
     .help = "Connections that are served; an eighth more are told to come back",
     .kind = CONFIG_COUNT,
     .offset = offsetof(struct gateway_settings, max_connections),
     .min = 1,
     .max = 4096},
    {.flag = "max-in-flight",
     .environment = "TIDINGS_MAX_IN_FLIGHT",
     .fallback = "8192",
     .help = "Events that are being stored at one time",
     .kind = CONFIG_COUNT,
     .offset = offsetof(struct gateway_settings, max_in_flight),
     .min = 1,
     .max = 65536},
    {.flag = "request-timeout",
     .environment = "TIDINGS_REQUEST_TIMEOUT",
     .fallback = "10s",
     .help = "How long a whole request may take to arrive",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct gateway_settings, request_timeout_ms),
     .min = 100,
     .max = HOUR_MS},
    {.flag = "idle-timeout",
     .environment = "TIDINGS_IDLE_TIMEOUT",
     .fallback = "75s",
     .help = "How long a connection is kept that waits for its next request",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct gateway_settings, idle_timeout_ms),
     .min = 100,
     .max = HOUR_MS},
    {.flag = "publish-timeout",
     .environment = "TIDINGS_PUBLISH_TIMEOUT",
     .fallback = "5s",
     .help = "How long to wait until the bus says that an event is stored",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct gateway_settings, publish_timeout_ms),
     .min = 10,
     .max = HOUR_MS},
    SETTINGS_SHARED(struct gateway_settings, shared),
    {.flag = NULL},
};

static enum err check(const void *values, struct err_detail *detail)
{
    const struct gateway_settings *s = values;
    struct err_detail why = {""};
    enum err e = webhook_origins_check(s->webhook_origins, detail);

    if (!e && http_cors_check(s->cors_origins, &why))
        e = err_set(detail, ERR_INVALID, "--cors-origins: %.400s", why.text);
    return e ? e : settings_check(&s->shared, detail);
}

const struct config_program gateway_program = {
    .name = "http-gateway",
    .purpose = "Takes events over HTTP and stores them on the bus",
    .settings = settings,
    .check = check,
};
