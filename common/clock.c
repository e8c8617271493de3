#include "common/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now); /* fails only for an unknown clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_monotonic_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_wall_ms, system_monotonic_ms};

static int64_t manual_now_ms(const struct clock *clock)
{
    return atomic_load(&((const struct clock_manual *)clock)->now_ms);
}

void clock_manual_init(struct clock_manual *clock, int64_t now_ms)
{
    clock->base = (struct clock){manual_now_ms, manual_now_ms};
    atomic_init(&clock->now_ms, now_ms);
}

void clock_manual_advance(struct clock_manual *clock, int64_t ms)
{
    atomic_fetch_add(&clock->now_ms, ms);
}

/* ---- the calendar ---- */

#define DAY_MS 86400000LL
#define FIRST_MS (-62135596800000LL) /* 0001-01-01T00:00:00.000Z */
#define LAST_MS 253402300799999LL    /* 9999-12-31T23:59:59.999Z */

struct date {
    int64_t year;
    int64_t month, day; /* from 1 */
};

/* Both count in years that begin on 1 March, so that the leap day is a year's last, and in eras of
 * 400 years
 * (146,097 days). Day 0 is 1970-01-01, which is day 719,468 of year 0 counted so. */
static int64_t days_of_date(struct date d)
{
    int64_t year = d.month > 2 ? d.year : d.year - 1;
    int64_t era = year / 400,
            year_of_era = year % 400; /* year >= 0 here: the parser refuses 0000 */
    int64_t day_of_year = (153 * ((d.month + 9) % 12) + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static struct date date_of_days(int64_t days)
{
    int64_t shifted = days + 719468; /* >= 0 from year 1 on */
    int64_t era = shifted / 146097, day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    struct date d = {.day = day_of_year - (153 * month + 2) / 5 + 1, .month = month % 12 + 3};

    if (month >= 10)
        d.month = month - 9;
    d.year = year_of_era + era * 400 + (d.month <= 2);
    return d;
}

static int64_t month_length(int64_t year, int64_t month)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return lengths[month - 1] + (month == 2 && leap);
}

/* ---- text ---- */

static char *put_digits(char *to, int64_t value, int count, char end)
{
    for (int i = count - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
    to[count] = end;
    return to + count + 1;
}

void clock_format(int64_t wall_ms, char text[CLOCK_TEXT_SIZE])
{
    int64_t ms = wall_ms < FIRST_MS ? FIRST_MS : wall_ms > LAST_MS ? LAST_MS : wall_ms;
    int64_t in_day = (ms % DAY_MS + DAY_MS) % DAY_MS;
    struct date d = date_of_days((ms - in_day) / DAY_MS);
    char *to = text;

    to = put_digits(to, d.year, 4, '-');
    to = put_digits(to, d.month, 2, '-');
    to = put_digits(to, d.day, 2, 'T');
    to = put_digits(to, in_day / 3600000, 2, ':');
    to = put_digits(to, in_day / 60000 % 60, 2, ':');
    to = put_digits(to, in_day / 1000 % 60, 2, '.');
    to = put_digits(to, in_day % 1000, 3, 'Z');
    *to = '\0';
}

struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, const char *allowed, char *ret)
{
    if (c->at == c->end || *c->at == '\0' || !strchr(allowed, *c->at))
        return false;
    *ret = *c->at++;
    return true;
}

/* `count` digits within min..max, then one of the characters in `end`, unless that is "". */
static bool take_number(struct cursor *c, int count, int64_t min, int64_t max, const char *end,
                        int64_t *ret)
{
    int64_t value = 0;
    char digit;

    for (int i = 0; i < count; i++) {
        if (!take(c, "0123456789", &digit))
            return false;
        value = value * 10 + (digit - '0');
    }
    if (value < min || value > max || (*end && !take(c, end, &digit)))
        return false;
    *ret = value;
    return true;
}

/* ["." 1*DIGIT], cut to milliseconds */
static bool take_fraction(struct cursor *c, int64_t *ret_ms)
{
    int64_t ms = 0, weight = 100;
    char digit;

    if (take(c, ".", &digit)) {
        if (!take(c, "0123456789", &digit))
            return false;
        do {
            ms += (digit - '0') * weight;
            weight /= 10;
        } while (take(c, "0123456789", &digit));
    }
    *ret_ms = ms;
    return true;
}

/* "Z" or a numeric offset, to the end of the text */
static bool take_offset(struct cursor *c, int64_t *ret_minutes)
{
    int64_t hours = 0, minutes = 0;
    char sign;

    if (!take(c, "Zz+-", &sign))
        return false;
    if ((sign == '+' || sign == '-') &&
        (!take_number(c, 2, 0, 23, ":", &hours) || !take_number(c, 2, 0, 59, "", &minutes)))
        return false;
    *ret_minutes = (hours * 60 + minutes) * (sign == '-' ? -1 : 1);
    return c->at == c->end;
}

_Bool clock_parse(const char *text, size_t len, int64_t *ret_wall_ms)
{
    struct cursor c = {text, text + len};
    struct date d;
    int64_t hour, minute, second, ms, offset, total;

    if (!take_number(&c, 4, 1, 9999, "-", &d.year) || !take_number(&c, 2, 1, 12, "-", &d.month) ||
        !take_number(&c, 2, 1, month_length(d.year, d.month), "Tt", &d.day) ||
        !take_number(&c, 2, 0, 23, ":", &hour) || !take_number(&c, 2, 0, 59, ":", &minute) ||
        !take_number(&c, 2, 0, 60, "", &second) || !take_fraction(&c, &ms) ||
        !take_offset(&c, &offset))
        return false;
    total = days_of_date(d) * 1440 + hour * 60 + minute - offset;
    if (second == 60) {
        if ((total % 1440 + 1440) % 1440 != 1439) /* leap seconds end a UTC day */
            return false;
        second = 59;
    }
    total = total * 60000 + second * 1000 + ms;
    if (total < FIRST_MS || total > LAST_MS)
        return false;
    *ret_wall_ms = total;
    return true;
}
