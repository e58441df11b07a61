/* What holds for every path of the client port before a page is looked for: origins, hosts, cleaned paths, 404. These
 * need no core; the pages themselves are tried by tests/e2e/http_test.py. */
#include "base/check.h"
#include "base/net/listener.h"
#include "grpc/pages.h"
#include "tests/support/loopback.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct listener listener;
    struct http1_options options;
    struct pages pages;
    struct buffer raw;
    int fd;
    bool gone;
};

static bool more(void *owner, struct http1_request *request)
{
    (void)owner;
    if (!bytes_equal(request->path, bytes_str("/more"))) {
        return false;
    }
    http1_respond_text(request, 200, "text/plain", "more");
    return true;
}

static void on_accept(struct listener *listener, struct connection *connection)
{
    struct fixture *f = listener->owner;
    http1_serve(connection, &f->options, (struct bytes){0});
}

static void on_gone(struct listener *listener)
{
    ((struct fixture *)listener->owner)->gone = true;
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char reason[256];
    assert_int_equal(loop_init(&f->loop), 0);
    f->pages = (struct pages){.port = PAGES_CLIENT, .more = more};
    f->options = (struct http1_options){.handle = pages_handle, .owner = &f->pages};
    f->listener = (struct listener){.on_accept = on_accept, .on_gone = on_gone, .owner = f};
    assert_int_equal(listener_open(&f->listener, &f->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    listener_close(&f->listener);
    while (!f->gone) {
        loop_step(&f->loop, 2);
    }
    buffer_free(&f->raw);
    loop_close(&f->loop);
    free(f);
    return 0;
}

/* One request on a connection of its own; the whole answer as text. */
static const char *ask(struct fixture *f, const char *line, const char *headers)
{
    int fd = loopback_connect(loopback_port(f->listener.address));
    char *text = mem_printf("%s HTTP/1.1\r\n%sConnection: close\r\n\r\n", line, headers);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    free(text);
    f->raw.len = 0;
    for (ssize_t n = -1; n != 0;) {
        loop_step(&f->loop, 2);
        n = read(fd, buffer_reserve(&f->raw, 65536), 65536);
        assert_true(n >= 0 || errno == EAGAIN);
        f->raw.len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    buffer_append(&f->raw, "", 1);
    return (const char *)f->raw.data;
}

static void expect(struct fixture *f, const char *line, const char *headers, const char *status, const char *has,
                   const char *has_not)
{
    const char *got = ask(f, line, headers);
    if (strncmp(got + 9, status, 3) != 0 || strstr(got, has) == NULL || (has_not[0] != '\0' && strstr(got, has_not))) {
        fail_msg("%s %s\nexpected %s, %s, and not '%s'; got\n%s", line, headers, status, has, has_not, got);
    }
}

static void test_paths_are_cleaned_as_gos_server_does(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *target;
    } rows[] = {
        {"//more", "/more"},        {"/more/.", "/more"},
        {"/more/..", "/"},          {"/a/../more", "/more"},
        {"/a/../../more", "/more"}, {"//", "/"},
        {"/more//", "/more/"},      {"/./more?a=b", "/more?a=b"},
        {"/../../..", "/"},         {"/a/b/../../more/", "/more/"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[64], location[64];
        snprintf(location, sizeof location, "\r\nLocation: %s\r\n", rows[i].target);
        snprintf(line, sizeof line, "GET %s", rows[i].path);
        expect(f, line, "Host: a\r\n", "307", location, "");
        snprintf(line, sizeof line, "POST %s", rows[i].path);
        expect(f, line, "Host: a\r\n", "307", location, "text/html");
    }
    for (const char *const *path = (const char *const[]){"/more", "/mo%72e", NULL}; *path != NULL; path++) {
        char line[64];
        snprintf(line, sizeof line, "GET %s", *path);
        expect(f, line, "Host: a\r\n", "200", "more", "Location");
    }
    expect(f, "GET /a/%2e%2e/more", "Host: a\r\n", "404", "404 page not found\n", "Location");
    expect(f, "GET //more?<\"&", "Host: a\r\n", "307", "<a href=\"/more?&lt;&#34;&amp;\">", "");
}

static void test_any_origin(void **state)
{
    struct fixture *f = *state;
    f->pages.cors = (const char *const[]){"*"};
    f->pages.cors_count = 1;
    expect(f, "GET /more", "Host: a\r\n", "200", "Access-Control-Allow-Origin: *\r\n", "");
    expect(f, "GET /nosuch", "Host: a\r\n", "404",
           "Access-Control-Allow-Headers: accept, content-type, authorization\r\n", "");
    expect(f, "OPTIONS /nosuch", "Host: a\r\n", "200",
           "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n", "404");
}

static void test_listed_origins(void **state)
{
    struct fixture *f = *state;
    f->pages.cors = (const char *const[]){"http://a:1", "http://b:2"};
    f->pages.cors_count = 2;
    expect(f, "GET /more", "Host: a\r\nOrigin: http://b:2\r\n", "200", "Access-Control-Allow-Origin: http://b:2\r\n",
           "");
    expect(f, "GET /more", "Host: a\r\nOrigin: http://c:3\r\n", "200", "more", "Access-Control");
    expect(f, "GET /more", "Host: a\r\n", "200", "more", "Access-Control");
}

static void test_listed_hosts(void **state)
{
    struct fixture *f = *state;
    f->pages.hosts = (const char *const[]){"a.example", "::1"};
    f->pages.host_count = 2;
    for (const char *const *host = (const char *const[]){"a.example", "a.example:80", "[::1]:2379", "[::1]", NULL};
         *host != NULL; host++) {
        char header[64];
        snprintf(header, sizeof header, "Host: %s\r\n", *host);
        expect(f, "GET /more", header, "200", "more", "Rebinding");
    }
    for (const char *const *host =
             (const char *const[]){"b.example", "a.example.b", "xa.example", "[::2]:1", "[::1", ":80", NULL};
         *host != NULL; host++) {
        char header[64];
        snprintf(header, sizeof header, "Host: %s\r\n", *host);
        expect(f, "GET /more", header, "421", "DNS Rebinding", "");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paths_are_cleaned_as_gos_server_does),
        TEST(test_any_origin),
        TEST(test_listed_origins),
        TEST(test_listed_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
