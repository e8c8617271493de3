#include "common/config_parts.h"

#include <stdio.h>

#define WORD_MAX 40

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance: how many characters to insert, delete or replace. Both at most
 * WORD_MAX. */
static size_t distance(struct view a, struct view b)
{
    size_t row[WORD_MAX + 1];

    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a.data[i - 1] != b.data[j - 1]));
            diagonal = above;
        }
    }
    return row[b.len];
}

void config_hint(struct view word, const char *prefix,
                 const char *(*candidate)(const void *ctx, size_t index), const void *ctx,
                 char hint[CONFIG_HINT_SIZE])
{
    size_t best = word.len < 6 ? 2 : 3; /* too far: one more than may be wrong */
    const char *name;

    hint[0] = '\0';
    if (word.len > WORD_MAX)
        return;
    for (size_t i = 0; (name = candidate(ctx, i)) != NULL; i++) {
        if (strlen(name) > WORD_MAX)
            continue;
        size_t d = distance(word, view_of(name));
        if (d < best) {
            best = d;
            snprintf(hint, CONFIG_HINT_SIZE, " (did you mean %s%s?)", prefix, name);
        }
    }
}
