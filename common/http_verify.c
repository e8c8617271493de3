/* civetweb's parser is lenient where leniency is dangerous: it takes bare LF for the end of a line,
 * stops without a word at a folded line or at the 64th header field, skips blanks anywhere in the
 * request line, lets a body have two lengths, and after leading blank lines parses what an earlier
 * connection left in its buffer. Between two parties that disagree about where a request ends lies
 * request smuggling (RFC 9112, sections 5 and 11.2). So nothing is served unless civetweb's parse
 * is the only one possible.
 *
 * civetweb parses in place: it ends the pieces of the header with NUL, in the buffer of its
 * connection thread. Where they stand tells what stood between them.
 */
#include "common/http_internal.h"

#include <civetweb.h>
#include <stdalign.h>
#include <sys/uio.h>
#include <unistd.h>

static enum err malformed(struct err_detail *detail, const char *what)
{
    return err_set(detail, ERR_MALFORMED, "%s", what);
}

/* ---- layout ---- */

enum { PAGE = 4096 }; /* the smallest there is */

/* A byte that belongs to nobody here, so no sanitizer is to mind. */
__attribute__((noinline, no_sanitize("address"), no_sanitize("thread"))) static char
peek(const char *at)
{
    return *(const volatile char *)at;
}

static bool is_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Whether what civetweb skips has shifted a request from there, which is aligned as an allocation:
 * then all bytes of a step before it are blank. At the buffer's beginning these are the
 * allocator's, or somebody's who has just nothing but blanks there. They can be read where they
 * share a page with ours. Elsewhere there may be no memory, so the kernel is asked; if it does not
 * say (containers may forbid the question), nothing stands there. */
static bool is_shifted(const char *at)
{
    enum { STEP = alignof(max_align_t) };
    char bytes[STEP] = {0};
    struct iovec to = {bytes, STEP}, from = {(char *)at - STEP, STEP};
    bool blank = true;

    if ((uintptr_t)at % PAGE == 0)
        blank = process_vm_readv(getpid(), &to, 1, &from, 1, 0) == STEP;
    else
        for (int i = 0; i < STEP; i++)
            bytes[i] = peek(at - STEP + i);
    for (int i = 0; i < STEP; i++)
        blank = blank && is_blank(bytes[i]);
    return blank;
}

/* Whether the request begins where the buffer does, or behind one CRLF (RFC 9112, section 2.2:
 * some clients end a body with one). civetweb does not tell where its buffer begins; but it is one
 * allocation a thread, and each thread's requests show it, unless blanks have shifted them. */
static bool begins_at_buffer(struct http_worker *worker, const char *method)
{
    bool aligned = (uintptr_t)method % alignof(max_align_t) == 0;
    bool shifted = ((uintptr_t)method - 2) % alignof(max_align_t) == 0;

    if (aligned && (!worker->buffer || method < worker->buffer) && !is_shifted(method))
        worker->buffer = method;
    else if (!worker->buffer && shifted && !is_shifted(method - 2))
        worker->buffer = method - 2;
    if (!worker->buffer)
        return false;
    return method == worker->buffer ||
           (method == worker->buffer + 2 && method[-2] == '\r' && method[-1] == '\n');
}

static bool is_token(const char *text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    if (!*text)
        return false;
    for (; *text; text++) {
        bool letter = (*text | 0x20) >= 'a' && (*text | 0x20) <= 'z';
        bool digit = *text >= '0' && *text <= '9';

        if (!letter && !digit && !strchr(others, *text))
            return false;
    }
    return true;
}

static const char *end_of(const char *text)
{
    return text + strlen(text);
}

/* "METHOD SP target SP HTTP/1.x CRLF": single spaces. Sets where the line after it begins. */
static bool request_line_sound(const struct mg_request_info *info, const char **ret_next)
{
    const char *target_end = info->local_uri_raw && info->query_string
                                 ? end_of(info->query_string) /* split off */
                                 : end_of(info->request_uri);

    if (!is_token(info->request_method) || info->request_uri != end_of(info->request_method) + 1 ||
        info->http_version != target_end + 1 + strlen("HTTP/"))
        return false;
    *ret_next = end_of(info->http_version) + 2;
    return true;
}

/* "name: value CRLF" at `line`: no blank before the colon. Sets where the line after it begins. */
static bool field_sound(const struct mg_header *field, const char *line, const char **ret_next)
{
    const char *at;

    if (field->name != line || !is_token(field->name))
        return false;
    for (at = end_of(field->name) + 1; at < field->value; at++)
        if (*at != ' ' && *at != '\t')
            return false;
    *ret_next = end_of(field->value) + 2;
    return true;
}

static enum err check_layout(struct http_request *r, struct err_detail *detail)
{
    const struct mg_request_info *info = r->info;
    const char *next;

    if (!begins_at_buffer(r->worker, info->request_method))
        return malformed(detail, "something stands before the request line");
    if (!request_line_sound(info, &next))
        return malformed(detail, "the request line must be: method, one space, target, one space, "
                                 "HTTP/1.1, CRLF");
    if (info->num_headers >= MG_MAX_HEADERS)
        return err_set(detail, ERR_HEADER_TOO_LARGE, "at most %d header fields are allowed",
                       MG_MAX_HEADERS - 1);
    for (int i = 0; i < info->num_headers; i++)
        if (!field_sound(&info->http_headers[i], next, &next))
            return malformed(detail, "a header line must be: name, colon, value, CRLF; without "
                                     "blanks before the colon and without folding");
    if (next + 2 - info->request_method > HTTP_HEADER_MAX)
        return err_set(detail, ERR_HEADER_TOO_LARGE, "at most %d bytes are allowed",
                       HTTP_HEADER_MAX);
    /* the empty line; civetweb has put NUL over its LF, and without fields over its CR too */
    if ((next[0] != '\r' && info->num_headers > 0) || next[1] != '\0')
        return malformed(detail, "the header must end with an empty line, and its lines with CRLF");
    r->body_at = next + 2;
    r->header_size = (size_t)(r->body_at - r->worker->buffer);
    return ERR_NONE;
}

/* ---- meaning ---- */

static int count_fields(const struct mg_request_info *info, const char *name, struct view *ret)
{
    int count = 0;

    for (int i = 0; i < info->num_headers; i++) {
        if (!view_equal_nocase(view_of(info->http_headers[i].name), view_of(name)))
            continue;
        if (count++ == 0)
            *ret = view_of(info->http_headers[i].value);
    }
    while (count > 0 && ret->len > 0 && ret->data[ret->len - 1] == ' ')
        ret->len--;
    return count;
}

static enum err check_host(const struct http_request *r, struct err_detail *detail)
{
    struct view host;
    int count = count_fields(r->info, "Host", &host);

    if (count > 1 || (count == 0 && strcmp(r->info->http_version, "1.1") == 0))
        return malformed(detail, "an HTTP/1.1 request has exactly one Host");
    return ERR_NONE;
}

static enum err check_framing(struct http_request *r, struct err_detail *detail)
{
    struct view length, coding;
    int lengths = count_fields(r->info, "Content-Length", &length);
    int codings = count_fields(r->info, "Transfer-Encoding", &coding);

    if (lengths > 0 && codings > 0)
        return malformed(detail, "Content-Length and Transfer-Encoding exclude each other");
    if (lengths > 1 || codings > 1)
        return malformed(detail, "a body has one Content-Length or one Transfer-Encoding");
    if (codings > 0 && !view_equal_nocase(coding, VIEW("chunked")))
        return malformed(detail, "the only Transfer-Encoding served here is chunked");
    if (codings > 0 && strcmp(r->info->http_version, "1.1") != 0)
        return malformed(detail, "HTTP/1.0 knows no Transfer-Encoding");
    if (lengths > 0 && (length.len > 18 || !view_parse_u64(length, &r->content_length)))
        return malformed(detail, "Content-Length must be a number of bytes");
    r->framing = codings > 0 ? HTTP_CHUNKED : lengths > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
    r->body_left = codings > 0 || r->content_length > 0;
    return ERR_NONE;
}

enum err http_verify(struct http_request *r, struct err_detail *detail)
{
    enum err e = check_layout(r, detail);

    if (!e)
        e = check_host(r, detail);
    if (!e)
        e = check_framing(r, detail);
    r->sound = e == ERR_NONE;
    if (e) /* where the next request begins is anyone's guess */
        r->close = r->body_left = true;
    return e;
}
