/* Accept (RFC 9110, section 12.5.1): the most specific range that a type is in decides, and weights
 * only as far as they are 0. Parameters of media types don't matter.
 */
#include "common/http_internal.h"

/* How well a range describes a type; more is more specific. */
enum fit { FIT_NONE, FIT_ANY, FIT_TYPE, FIT_EXACT };

struct verdict {
    enum fit fit;
    bool wanted; /* by the ranges of that fit */
};

static struct view trim(struct view v)
{
    while (v.len > 0 && (v.data[0] == ' ' || v.data[0] == '\t')) {
        v.data++;
        v.len--;
    }
    while (v.len > 0 && v.data[v.len - 1] == ' ')
        v.len--;
    return v;
}

/* Cuts off what stands before the separator. */
static struct view cut(struct view *rest, char separator)
{
    const char *found = memchr(rest->data, separator, rest->len);
    struct view part = {rest->data, found ? (size_t)(found - rest->data) : rest->len};
    size_t gone = part.len + (found ? 1 : 0);

    *rest = (struct view){rest->data + gone, rest->len - gone};
    return trim(part);
}

/* q=0, q=0.000 */
static bool is_weight_zero(struct view parameter)
{
    if (parameter.len < 3 || (parameter.data[0] | 0x20) != 'q' || parameter.data[1] != '=')
        return false;
    for (size_t i = 2; i < parameter.len; i++)
        if (parameter.data[i] != '0' && parameter.data[i] != '.')
            return false;
    return true;
}

static enum fit fit_of(struct view range, struct view type)
{
    size_t slash = (size_t)((const char *)memchr(type.data, '/', type.len) - type.data);

    if (view_equal(range, VIEW("*/*")) || view_equal(range, VIEW("*")))
        return FIT_ANY;
    if (range.len == slash + 2 && range.data[slash + 1] == '*' &&
        view_equal_nocase((struct view){range.data, slash + 1},
                          (struct view){type.data, slash + 1}))
        return FIT_TYPE;
    return view_equal_nocase(range, type) ? FIT_EXACT : FIT_NONE;
}

static void judge_range(struct view item, struct view type, struct verdict *v)
{
    enum fit fit = fit_of(cut(&item, ';'), type);
    bool wanted = true;

    while (item.len > 0)
        wanted = !is_weight_zero(cut(&item, ';')) && wanted;
    if (fit == FIT_NONE || fit < v->fit)
        return;
    v->wanted = fit == v->fit ? v->wanted || wanted : wanted;
    v->fit = fit;
}

static bool is_wanted(const struct http_request *r, struct view type)
{
    struct verdict v = {FIT_NONE, false};
    struct view accept;

    for (int at = 0; http_header_next(r, "Accept", &at, &accept);)
        while (accept.len > 0)
            judge_range(cut(&accept, ','), type, &v);
    return v.wanted;
}

bool http_accepts(const struct http_request *r, const char *types)
{
    struct view accept;
    bool asked = false;

    for (int at = 0; http_header_next(r, "Accept", &at, &accept);)
        asked = asked || accept.len > 0;
    if (!asked || is_wanted(r, VIEW("application/problem+json")))
        return true;
    for (struct view rest = view_of(types); rest.len > 0;)
        if (is_wanted(r, cut(&rest, ',')))
            return true;
    return false;
}
