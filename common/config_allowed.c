#include "common/config_parts.h"

#include <inttypes.h>
#include <stdio.h>

const struct config_unit config_byte_units[] = {
    {"TiB", 1ULL << 40}, {"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"", 1},
    {NULL, 0},
};
const struct config_unit config_duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

static void format_quantity(uint64_t value, const struct config_unit *units,
                            char text[CONFIG_DURATION_SIZE])
{
    while (units[1].word && (value == 0 || value % units->size != 0))
        units++;
    snprintf(text, CONFIG_DURATION_SIZE, "%" PRIu64 "%s", value / units->size, units->word);
}

void config_duration_text(int64_t ms, char text[CONFIG_DURATION_SIZE])
{
    format_quantity((uint64_t)ms, config_duration_units, text);
}

/* "a duration like 250ms, at least 100ms, at most 7d" */
static void allowed_quantity(const struct config_setting *setting, const struct config_unit *units,
                             const char *what, const char *zero, char *text)
{
    char min[CONFIG_DURATION_SIZE], max[CONFIG_DURATION_SIZE];
    size_t len = (size_t)snprintf(text, CONFIG_ALLOWED_SIZE, "%s", what);

    format_quantity(setting->min, units, min);
    format_quantity(setting->max, units, max);
    if (setting->min > 0)
        len += (size_t)snprintf(text + len, CONFIG_ALLOWED_SIZE - len, ", at least %s", min);
    if (setting->max < INT64_MAX)
        len += (size_t)snprintf(text + len, CONFIG_ALLOWED_SIZE - len, ", at most %s", max);
    if (setting->min == 0)
        snprintf(text + len, CONFIG_ALLOWED_SIZE - len, ", or %s", zero);
}

static void allowed_words(const struct config_setting *setting, char *text)
{
    size_t len = (size_t)snprintf(text, CONFIG_ALLOWED_SIZE, "one of");

    for (size_t i = 0; setting->words[i] && len < CONFIG_ALLOWED_SIZE; i++)
        len += (size_t)snprintf(text + len, CONFIG_ALLOWED_SIZE - len, "%s %s", i ? "," : "",
                                setting->words[i]);
}

static void allowed_share(const struct config_setting *setting, char *text)
{
    size_t len = 0;

    for (size_t i = 0; setting->words && setting->words[i] && len < CONFIG_ALLOWED_SIZE; i++)
        len += (size_t)snprintf(text + len, CONFIG_ALLOWED_SIZE - len, "%s, ", setting->words[i]);
    snprintf(text + len, CONFIG_ALLOWED_SIZE - len, "%sa number from 0 to 1, like 0.25",
             len > 0 ? "or " : "");
}

void config_value_allowed(const struct config_setting *setting, char text[CONFIG_ALLOWED_SIZE])
{
    switch (setting->kind) {
    case CONFIG_TEXT:
        snprintf(text, CONFIG_ALLOWED_SIZE,
                 "text of %" PRIu64 " to %" PRIu64 " bytes without control characters",
                 setting->max ? setting->min : 1, setting->max ? setting->max : CONFIG_TEXT_MAX);
        break;
    case CONFIG_NAME:
        snprintf(text, CONFIG_ALLOWED_SIZE, "1 to %d letters, digits, _ and -", CONFIG_NAME_MAX);
        break;
    case CONFIG_ADDRESS:
        snprintf(text, CONFIG_ALLOWED_SIZE, "host:port or [IPv6]:port");
        break;
    case CONFIG_COUNT:
        snprintf(text, CONFIG_ALLOWED_SIZE, "a number from %" PRIu64 " to %" PRIu64, setting->min,
                 setting->max);
        break;
    case CONFIG_BYTES:
        allowed_quantity(setting, config_byte_units, "a size like 65536, 64KiB, 1MiB or 10GiB",
                         "unlimited", text);
        break;
    case CONFIG_DURATION:
        allowed_quantity(setting, config_duration_units, "a duration like 250ms, 30s, 5m, 2h or 7d",
                         "0", text);
        break;
    case CONFIG_WORD:
        allowed_words(setting, text);
        break;
    case CONFIG_SHARE:
        allowed_share(setting, text);
        break;
    }
}

const char *config_value_word(enum config_kind kind)
{
    static const char *const words[] = {
        [CONFIG_TEXT] = "TEXT", [CONFIG_NAME] = "NAME",   [CONFIG_ADDRESS] = "ADDRESS",
        [CONFIG_COUNT] = "N",   [CONFIG_BYTES] = "SIZE",  [CONFIG_DURATION] = "DURATION",
        [CONFIG_WORD] = "WORD", [CONFIG_SHARE] = "SHARE",
    };

    return words[kind];
}
