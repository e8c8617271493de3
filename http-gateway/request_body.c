#include "http-gateway/request_body.h"

#include "common/media_type.h"

static int shown(struct view v)
{
    return (int)(v.len < 80 ? v.len : 80);
}

enum err request_body_check_coding(const struct http_request *request,
                                   struct http_response *response, struct err_detail *detail)
{
    struct view coding;

    for (int at = 0; http_header_next(request, "Content-Encoding", &at, &coding);) {
        if (coding.len == 0 || view_equal_nocase(coding, VIEW("identity")))
            continue;
        http_add_header(response, "Accept-Encoding", VIEW("identity"));
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Encoding is \"%.*s\"; send the body as it is, without any",
                       shown(coding), coding.data);
    }
    return ERR_NONE;
}

enum err request_body_type(const struct http_request *request, struct view *ret,
                           struct err_detail *detail)
{
    struct view type = {0}, second;
    int at = 0;

    (void)http_header_next(request, "Content-Type", &at, &type);
    if (http_header_next(request, "Content-Type", &at, &second))
        return err_set(detail, ERR_MEDIA_TYPE, "there are two Content-Type; one is needed");
    *ret = type;
    return ERR_NONE;
}

enum err request_body_check_charset(struct view content_type, struct err_detail *detail)
{
    struct view rest = media_type_parameters(content_type);
    struct media_type_parameter p;

    while (media_type_next_parameter(&rest, &p))
        if (!view_equal_nocase(p.name, VIEW("charset")) ||
            !view_equal_nocase(p.value, VIEW("utf-8")))
            return err_set(detail, ERR_MEDIA_TYPE,
                           "Content-Type has the parameter \"%.*s\"; only charset=utf-8 is allowed",
                           shown(p.name), p.name.data);
    return ERR_NONE;
}

static enum err check_json(const struct http_request *request, struct err_detail *detail)
{
    struct view type = {0};
    enum err e = request_body_type(request, &type, detail);

    if (e)
        return e;
    if (type.len == 0)
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Type is missing; allowed is "
                       "application/json");
    if (!view_equal_nocase(media_type_essence(type), VIEW("application/json")))
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Type is \"%.*s\"; allowed is application/json", shown(type),
                       type.data);
    return request_body_check_charset(type, detail);
}

enum err request_body_json(struct http_request *request, struct http_response *response,
                           struct view *ret, struct err_detail *detail)
{
    enum err e = request_body_check_coding(request, response, detail);

    if (e)
        return e;
    e = check_json(request, detail);
    if (e == ERR_MEDIA_TYPE)
        http_add_header(response, "Accept-Post", VIEW("application/json"));
    return e ? e : http_body(request, ret, detail);
}
