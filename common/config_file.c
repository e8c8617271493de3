#include "common/config_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define FILE_MAX_BYTES (256 * 1024)

/* ---- nodes ---- */

void config_file_problem(struct config_file *file, const yaml_node_t *node, const char *key,
                         const char *format, ...)
{
    struct err_detail where;
    char text[256];
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    err_set(&where, ERR_INVALID, "%.150s:%zu%s%.60s", file->path, node->start_mark.line + 1,
            key ? ": " : "", key ? key : "");
    config_problem(file->loader, where.text, "%s", text);
}

yaml_node_t *config_file_node(struct config_file *file, yaml_node_item_t id)
{
    return yaml_document_get_node(&file->document, id);
}

struct view config_file_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return VIEW("");
    return (struct view){(const char *)node->data.scalar.value, node->data.scalar.length};
}

bool config_file_is_null(const yaml_node_t *node)
{
    struct view text = config_file_text(node);

    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.len == 0 || view_equal(text, VIEW("~")) || view_equal(text, VIEW("null")));
}

/* Whether a pair before `pair` has the same key. */
static bool is_repeated(struct config_file *file, const yaml_node_t *mapping,
                        const yaml_node_pair_t *pair)
{
    struct view key = config_file_text(config_file_node(file, pair->key));

    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++)
        if (view_equal(config_file_text(config_file_node(file, p->key)), key))
            return true;
    return false;
}

void config_file_each(struct config_file *file, yaml_node_t *mapping, config_member_fn member,
                      void *ctx)
{
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = config_file_node(file, pair->key);

        if (key->type != YAML_SCALAR_NODE)
            config_file_problem(file, key, NULL, "a key must be a plain word");
        else if (is_repeated(file, mapping, pair))
            config_file_problem(file, key, config_file_text(key).data, "is given twice");
        else
            member(file, key, config_file_node(file, pair->value), ctx);
    }
}

void config_file_apply(struct config_file *file, const yaml_node_t *node,
                       const struct config_setting *setting, void *values)
{
    char allowed[CONFIG_ALLOWED_SIZE];
    struct err_detail detail;

    config_value_allowed(setting, allowed);
    if (node->type != YAML_SCALAR_NODE)
        config_file_problem(file, node, setting->flag, "must be one value: %s", allowed);
    else if (config_file_is_null(node))
        config_file_problem(file, node, setting->flag,
                            "has no value: give one or leave the key out; allowed is %s", allowed);
    else if (config_value_set(setting, config_file_text(node), values, &detail) != ERR_NONE)
        config_file_problem(file, node, setting->flag, "%s", detail.text);
}

/* ---- the file's top ---- */

static const char *candidate_key(const void *ctx, size_t index)
{
    const struct config_program *program = ctx;

    if (!program->has_handlers)
        return program->settings[index].flag;
    return index == 0 ? "handlers" : program->settings[index - 1].flag;
}

static void read_member(struct config_file *file, const yaml_node_t *key, yaml_node_t *value,
                        void *ctx)
{
    struct config_loader *loader = file->loader;
    struct view name = config_file_text(key);
    const struct config_setting *setting = config_find(loader->program, name);
    char hint[CONFIG_HINT_SIZE];

    (void)ctx;
    if (setting) {
        config_file_apply(file, value, setting, loader->values);
    } else if (view_equal(name, VIEW("handlers")) && loader->program->has_handlers) {
        config_handlers_load(file, value);
    } else {
        config_hint(name, "", candidate_key, loader->program, hint);
        config_file_problem(file, key, name.data, "unknown key%s", hint);
    }
}

static void read_document(struct config_file *file)
{
    yaml_node_t *root = yaml_document_get_root_node(&file->document);

    if (!root || config_file_is_null(root)) /* nothing but comments */
        return;
    if (root->type != YAML_MAPPING_NODE)
        config_file_problem(file, root, NULL,
                            "must be a mapping of settings, like bus: nats://a:4222");
    else
        config_file_each(file, root, read_member, NULL);
}

/* Counted from 1. libyaml marks no place where bytes are not UTF-8, only tells their offset. */
static size_t problem_line(const struct config_file *file, const yaml_parser_t *parser)
{
    size_t line = 1;

    if (parser->error != YAML_READER_ERROR)
        return parser->problem_mark.line + 1;
    for (size_t i = 0; i < parser->problem_offset && i < file->bytes.len; i++)
        line += file->bytes.data[i] == '\n';
    return line;
}

static void syntax_problem(struct config_file *file, const yaml_parser_t *parser)
{
    struct err_detail where;

    err_set(&where, ERR_INVALID, "%.200s:%zu", file->path, problem_line(file, parser));
    if (parser->error == YAML_MEMORY_ERROR || !parser->problem)
        config_problem(file->loader, where.text, "out of memory");
    else
        config_problem(file->loader, where.text, "not YAML: %s%s%s",
                       parser->context ? parser->context : "", parser->context ? ", " : "",
                       parser->problem);
}

static bool parse_document(struct config_file *file, yaml_parser_t *parser)
{
    if (!yaml_parser_load(parser, &file->document)) {
        syntax_problem(file, parser);
        return false;
    }
    read_document(file);
    yaml_document_delete(&file->document);
    return true;
}

/* A document behind the first would be silently without effect. */
static void refuse_document(struct config_file *file, yaml_parser_t *parser)
{
    yaml_document_t document;
    const yaml_node_t *root;

    if (!yaml_parser_load(parser, &document)) {
        syntax_problem(file, parser);
        return;
    }
    root = yaml_document_get_root_node(&document);
    if (root)
        config_file_problem(file, root, NULL, "only one document is allowed");
    yaml_document_delete(&document);
}

static void parse(struct config_file *file)
{
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser)) {
        config_problem(file->loader, file->path, "out of memory");
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)file->bytes.data, file->bytes.len);
    if (parse_document(file, &parser))
        refuse_document(file, &parser);
    yaml_parser_delete(&parser);
}

/* ---- bytes ---- */

/* The reason why it can't be read; NULL: it could. */
static const char *read_bytes(const char *path, struct buf *bytes)
{
    FILE *stream = fopen(path, "re");
    const char *reason = NULL;
    size_t n = 1;

    if (!stream)
        return strerrordesc_np(errno);
    while (n > 0 && !reason) {
        char *room = buf_reserve(bytes, 4096);
        n = room ? fread(room, 1, 4096, stream) : 0;
        if (!room)
            reason = "it is longer than 256 KiB, or memory is short";
        else if (ferror(stream))
            reason = strerrordesc_np(errno);
        else
            buf_advance(bytes, n);
    }
    fclose(stream);
    return reason;
}

void config_file_load(struct config_loader *loader, const char *path, const char *where)
{
    struct config_file file = {.loader = loader, .path = path};
    struct buf bytes;
    const char *reason;

    buf_init(&bytes, FILE_MAX_BYTES + 4096);
    reason = read_bytes(path, &bytes);
    if (reason)
        config_problem(loader, where, "cannot read %.100s: %s", path, reason);
    file.bytes = buf_view(&bytes);
    if (!reason)
        parse(&file);
    buf_free(&bytes);
}
