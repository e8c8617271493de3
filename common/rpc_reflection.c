#include "common/rpc_reflection.h"

#include "common/mem.h"
#include "common/proto_arena.h"
#include "common/rpc_descriptors.h"

#include "grpc/reflection/v1/reflection.pb-c.h"

/* v1 and v1alpha are the same on the wire, so v1's messages serve both. */
typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
typedef Grpc__Reflection__V1__ServiceResponse Service;
#define REQUEST(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##member
#define RESPONSE(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##member

#define ANSWER_MAX (4u << 20)
#define INVALID_ARGUMENT 3 /* of grpc::StatusCode */
#define NOT_FOUND 5

struct rpc_reflection {
    struct rpc_descriptors *descriptors;
    Service *services; /* what list_services says; the names are ours */
    Service **service_list;
    size_t service_count;
};

/* Made by the build: a FileDescriptorSet of the public protocols. */
extern const unsigned char tidings_descriptors[];
extern const size_t tidings_descriptors_size;

/* ---- services ---- */

static bool has_service(const struct rpc_reflection *r, const char *name, size_t len)
{
    for (size_t i = 0; i < r->service_count; i++) {
        if (strlen(r->services[i].name) == len && memcmp(r->services[i].name, name, len) == 0)
            return true;
    }
    return false;
}

/* Adds the service of a method's path, "/service/Method"; false: memory is short. */
static bool add_service(struct rpc_reflection *r, const char *path)
{
    size_t len = strcspn(path + 1, "/");
    if (has_service(r, path + 1, len))
        return true;
    char *name = mem_copy_text(path + 1, len);
    if (!name)
        return false;
    Service *service = &r->services[r->service_count];
    grpc__reflection__v1__service_response__init(service);
    service->name = name;
    r->service_list[r->service_count++] = service;
    return true;
}

static enum err services_new(struct rpc_reflection *r, const struct rpc_method *methods)
{
    static const char *const own[] = {
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    };
    size_t room = sizeof own / sizeof own[0];
    for (const struct rpc_method *m = methods; m->path; m++)
        room++;
    r->services = mem_zero(room, sizeof *r->services);
    r->service_list = mem_zero(room, sizeof *r->service_list);
    bool complete = r->services && r->service_list;
    for (; complete && methods->path; methods++)
        complete = add_service(r, methods->path);
    for (size_t i = 0; complete && i < sizeof own / sizeof own[0]; i++)
        complete = add_service(r, own[i]);
    return complete ? ERR_NONE : ERR_MEMORY;
}

enum err rpc_reflection_new(const struct rpc_method *methods, struct rpc_reflection **ret)
{
    struct rpc_reflection *r = mem_zero(1, sizeof *r);
    if (!r)
        return ERR_MEMORY;
    enum err e = services_new(r, methods);
    if (e == ERR_NONE)
        e = rpc_descriptors_new(
            (struct view){(const char *)tidings_descriptors, tidings_descriptors_size},
            &r->descriptors);
    if (e != ERR_NONE) {
        rpc_reflection_free(r);
        return e;
    }
    *ret = r;
    return ERR_NONE;
}

void rpc_reflection_free(struct rpc_reflection *reflection)
{
    if (!reflection)
        return;
    for (size_t i = 0; i < reflection->service_count; i++)
        mem_free(reflection->services[i].name);
    mem_free(reflection->services);
    mem_free(reflection->service_list);
    rpc_descriptors_free(reflection->descriptors);
    mem_free(reflection);
}

/* ---- answers ---- */

/* Room for the parts of one answer. */
struct answer {
    struct proto_arena *arena;
    Response response;
    Grpc__Reflection__V1__ListServiceResponse services;
    Grpc__Reflection__V1__FileDescriptorResponse files;
    Grpc__Reflection__V1__ErrorResponse error;
};

static void answer_error(struct answer *a, int code, const char *text)
{
    grpc__reflection__v1__error_response__init(&a->error);
    a->error.error_code = code;
    a->error.error_message = (char *)text;
    a->response.message_response_case = RESPONSE(ERROR_RESPONSE);
    a->response.error_response = &a->error;
}

static void answer_services(struct answer *a, const struct rpc_reflection *r)
{
    grpc__reflection__v1__list_service_response__init(&a->services);
    a->services.n_service = r->service_count;
    a->services.service = r->service_list;
    a->response.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    a->response.list_services_response = &a->services;
}

static void answer_file(struct answer *a, const struct rpc_reflection *r,
                        const struct rpc_descriptor_file *file, const char *otherwise)
{
    if (!file) {
        answer_error(a, NOT_FOUND, otherwise);
        return;
    }
    size_t room = rpc_descriptors_count(r->descriptors);
    struct view *files = proto_arena_alloc(a->arena, room, sizeof *files);
    ProtobufCBinaryData *list = proto_arena_alloc(a->arena, room, sizeof *list);
    if (a->arena->failed)
        return;
    size_t count = rpc_descriptors_closure(r->descriptors, file, files);
    for (size_t i = 0; i < count; i++)
        list[i] = (ProtobufCBinaryData){files[i].len, (uint8_t *)files[i].data};
    grpc__reflection__v1__file_descriptor_response__init(&a->files);
    a->files.n_file_descriptor_proto = count;
    a->files.file_descriptor_proto = list;
    a->response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    a->response.file_descriptor_response = &a->files;
}

static void fill(struct answer *a, const struct rpc_reflection *r, Request *request)
{
    grpc__reflection__v1__server_reflection_response__init(&a->response);
    a->response.valid_host = request->host;
    a->response.original_request = request;
    switch (request->message_request_case) {
    case REQUEST(LIST_SERVICES):
        answer_services(a, r);
        break;
    case REQUEST(FILE_BY_FILENAME):
        answer_file(a, r, rpc_descriptors_file(r->descriptors, view_of(request->file_by_filename)),
                    "there is no such file");
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        answer_file(
            a, r, rpc_descriptors_symbol(r->descriptors, view_of(request->file_containing_symbol)),
            "there is no such symbol");
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_error(a, NOT_FOUND, "there are no extensions");
        break;
    default:
        answer_error(a, INVALID_ARGUMENT, "the request asks for nothing");
        break;
    }
}

static void send(struct rpc_call *call, const struct answer *a)
{
    struct buf out;
    buf_init(&out, ANSWER_MAX);
    if (!a->arena->failed && proto_append(&a->response.base, &out) == ERR_NONE)
        rpc_send(call, buf_view(&out));
    else
        rpc_fail(call, ERR_MEMORY, NULL);
    buf_free(&out);
}

static void on_request(struct rpc_call *call, struct view bytes, void *ctx)
{
    _Alignas(max_align_t) char stack[2048];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, bytes.len + 1024);
    Request *request = grpc__reflection__v1__server_reflection_request__unpack(
        &arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (request) {
        struct answer a = {.arena = &arena};
        fill(&a, ctx, request);
        send(call, &a);
    } else {
        rpc_fail(call, arena.failed ? ERR_MEMORY : ERR_MALFORMED, "not a ServerReflectionRequest");
    }
    proto_arena_free(&arena);
}

const struct rpc_method rpc_reflection_methods[] = {
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     .kind = RPC_BIDI,
     .on_request = on_request},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .kind = RPC_BIDI,
     .on_request = on_request},
    {.path = NULL},
};
